"""Which parameters train, at what part of the rate, and with which weight decay."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from lrtuner.errors import JobFailedError
from lrtuner.training import Training, matches

Group = dict[str, Any]


def freeze(training: Training, model: nn.Module) -> None:
    """Let what the job freezes keep its value.

    A layer with running statistics whose parameters are all frozen stays in evaluation mode: else
    the statistics would move, and the layer with them.
    """
    for name, parameter in model.named_parameters():
        if matches(name, training.freeze):
            parameter.requires_grad = False
    for module in model.modules() if training.freeze else ():
        own = list(module.parameters(recurse=False))
        if hasattr(module, "running_mean") and own and not any(p.requires_grad for p in own):
            module.eval()
            _keep_mode(module)


def _keep_mode(module: nn.Module) -> None:
    # whoever calls train() on the model reaches each of its modules
    module.train = lambda mode=True: module  # type: ignore[method-assign] # noqa: ARG005


def groups(training: Training, model: nn.Module, *, matrices: bool = False) -> list[Group]:
    """The parameters that train as param groups for an optimizer, each with its `lr_ratio`.

    With `matrices` each group says whether it is one of weight matrices: of two dimensions, and no
    embedding.
    """
    embedded = _embedded(model)
    found: dict[Any, Group] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            ratio, decay = _settings(training, name, parameter)
            own: Group = {"lr_ratio": ratio}
            if decay is not None:
                own["weight_decay"] = decay
            if matrices:
                own["matrix"] = _is_matrix(parameter, embedded)
            group = found.setdefault(tuple(own.items()), {"params": [], **own})
            group["params"].append(parameter)
    return list(found.values())


def split_matrices(given: list[Group], model: nn.Module) -> list[Group]:
    """Each group as one of weight matrices and one of all else, as far as it has both."""
    embedded = _embedded(model)
    found = []
    for group in given:
        for matrix in (True, False):
            params = [p for p in group["params"] if _is_matrix(p, embedded) is matrix]
            if params:
                found.append({**group, "params": params, "matrix": matrix})
    return found


def check(training: Training, model: nn.Module) -> None:
    """Refuse patterns that say nothing about this model.

    Raises:
        JobFailedError: naming the field of a pattern that no parameter matches, or nothing would
            train, or nothing at the schedule's rate.
    """
    names = [name for name, _ in model.named_parameters()]
    for field, pattern in _patterns(training):
        if not any(matches(name, [pattern]) for name in names):
            known = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            told = f"{pattern!r} matches no parameter of the model; its parameters: {known}"
            raise JobFailedError(f"training.{field}: {told}")
    found = groups(training, model)
    if not found:
        raise JobFailedError("training.freeze: no parameter is left to train")
    largest = max(group["lr_ratio"] for group in found)
    if largest < 1:
        told = f"every lr_ratio is below 1 (the largest is {largest:g}); give the largest group 1"
        raise JobFailedError(f"training.param_groups: {told}")


def _embedded(model: nn.Module) -> set[int]:
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    return {id(parameter) for table in tables for parameter in table.parameters()}


def _is_matrix(parameter: nn.Parameter, embedded: set[int]) -> bool:
    return parameter.ndim == 2 and id(parameter) not in embedded


def _patterns(training: Training) -> Iterator[tuple[str, str]]:
    for index, group in enumerate(training.param_groups):
        yield f"param_groups.{index}.match", group.match
    yield from ((f"freeze.{index}", pattern) for index, pattern in enumerate(training.freeze))
    if training.no_decay != "biases_and_norms":
        yield from ((f"no_decay.{index}", name) for index, name in enumerate(training.no_decay))


def _settings(training: Training, name: str, parameter: nn.Parameter) -> tuple[float, float | None]:
    own = [group for group in training.param_groups if matches(name, [group.match])]
    ratio, decay = (own[0].lr_ratio, own[0].weight_decay) if own else (1.0, None)
    return ratio, 0.0 if _without_decay(training, name, parameter) else decay


def _without_decay(training: Training, name: str, parameter: nn.Parameter) -> bool:
    if training.no_decay == "biases_and_norms":
        return parameter.ndim <= 1 or name.rpartition(".")[2] == "bias"
    return matches(name, training.no_decay)
