"""What a user's code gives must be what can be trained: which field, what it was, what may be."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

import lrtuner
from lrtuner.task import NamedData, check_metric_names
from worker.sandbox.errors import INVALID_TASK, CodeError

SPLITS = ("train", "validation", "test")

_GROUP = {"params", "lr_ratio", "weight_decay"}


def invalid(problem: str) -> CodeError:
    """The error that says so."""
    return CodeError(INVALID_TASK, problem)


def check_task(given: object) -> lrtuner.Task:
    """What `build` gave, as a task.

    Raises:
        CodeError: it is none.
    """
    if not isinstance(given, lrtuner.Task):
        raise invalid(f"build(context) must give a lrtuner.Task, it gave {_described(given)}")
    return given


def splits_of(task: lrtuner.Task, named: NamedData | None) -> dict[str, Any]:
    """The three splits, each checked: the task's own, or those of the dataset that the job names.

    Raises:
        CodeError: one is missing or no split, or some are the task's and some the dataset's.
    """
    given = {name: getattr(task, name) for name in SPLITS}
    missing = [name for name, split in given.items() if split is None]
    if named is not None and len(missing) == len(SPLITS):
        return {name: getattr(named, name) for name in SPLITS}
    needed = [name for name in missing if name != "test"]
    if needed:
        told = "only where the job names a dataset all splits may be left out"
        raise invalid(f"Task.{needed[0]} is None: {told}")
    for name, split in given.items():
        if split is not None:
            _check_split(f"Task.{name}", split, pairs=task.step is None)
    return given


def _check_split(field: str, split: Any, *, pairs: bool) -> None:
    if isinstance(split, tuple):
        _check_tensors(field, split, pairs=pairs)
    elif isinstance(split, Tensor):
        raise invalid(f"{field} is one tensor: give a tuple, such as (inputs, targets)")
    elif isinstance(split, IterableDataset):
        told = "give a map-style dataset, with __len__ and __getitem__"
        raise invalid(f"{field} is an IterableDataset, whose examples have no index: {told}")
    elif not hasattr(split, "__len__") or not hasattr(split, "__getitem__"):
        told = "it must have __len__ and __getitem__, or be a tuple of tensors"
        raise invalid(f"{field} is {_described(split)}: {told}")
    try:
        count = len(split[0] if isinstance(split, tuple) else split)
    except (TypeError, NotImplementedError):
        raise invalid(f"{field} has no length: give a map-style dataset, with __len__") from None
    if count == 0:
        raise invalid(f"{field} is empty: at least one example is needed")


def _check_tensors(field: str, tensors: tuple[Any, ...], *, pairs: bool) -> None:
    if pairs and len(tensors) != 2:
        told = "without step it must be two, (inputs, targets)"
        raise invalid(f"{field} is a tuple of {len(tensors)}: {told}")
    if not tensors:
        raise invalid(f"{field} is an empty tuple: give tensors of equal length")
    for index, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor) or tensor.ndim == 0:
            told = "a tuple must be of tensors, first dimension the example"
            raise invalid(f"{field}[{index}] is {_described(tensor)}: {told}")
    lengths = [len(tensor) for tensor in tensors]
    if len(set(lengths)) > 1:
        raise invalid(f"{field} has tensors of {_listed(lengths)} examples: give equally many")


def pair_of(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets of a batch.

    Raises:
        CodeError: it is no pair.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    told = "without step it must be a pair (inputs, targets); give step, or a collate that pairs"
    raise invalid(f"a batch is {_described(batch)}: {told}")


def check_model(found: object) -> nn.Module:
    """What `Task.model` gave, as a module.

    Raises:
        CodeError: it is none, or has nothing to train.
    """
    if not isinstance(found, nn.Module):
        raise invalid(f"Task.model must give an nn.Module, it gave {_described(found)}")
    if not any(parameter.requires_grad for parameter in found.parameters()):
        raise invalid("Task.model gives a module without any parameter that requires a gradient")
    return found


def check_loss(found: object, field: str) -> Tensor:
    """A loss as a scalar.

    Raises:
        CodeError: it is none.
    """
    if not isinstance(found, Tensor):
        raise invalid(f"{field} must give a scalar tensor, it gave {_described(found)}")
    if found.numel() != 1:
        told = "it must be a scalar, the mean over the batch"
        raise invalid(f"{field} gave a tensor of shape {tuple(found.shape)}: {told}")
    return found.reshape(())


def check_stepped(found: Any) -> tuple[Tensor, dict[str, float]]:
    """What `Task.step` gave: the loss, and metrics by name.

    Raises:
        CodeError: it is something else.
    """
    if not isinstance(found, tuple | list):
        return check_loss(found, "Task.step"), {}
    if len(found) != 2 or not isinstance(found[1], dict):
        told = "it must be the loss, or (loss, {name: value})"
        raise invalid(f"Task.step gave {_described(found)}: {told}")
    try:
        check_metric_names(found[1], "what Task.step gave")
    except ValueError as error:
        raise invalid(str(error)) from None
    metrics = {name: check_number(value, f"Task.step: {name}") for name, value in found[1].items()}
    return check_loss(found[0], "Task.step"), metrics


def check_number(found: Any, field: str) -> float:
    """One number, also of a tensor that has one.

    Raises:
        CodeError: it is none.
    """
    try:
        return float(found)
    except (TypeError, ValueError, RuntimeError):
        raise invalid(f"{field} must be a number, it is {_described(found)}") from None


def check_optimizer(found: object, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """What `Task.optimizer` gave, as an optimizer of the model at that rate.

    Raises:
        CodeError: it is none, has other parameters than the model's, or another rate.
    """
    if not isinstance(found, torch.optim.Optimizer):
        raise invalid(f"Task.optimizer must give a torch Optimizer, it gave {_described(found)}")
    own = {id(parameter) for parameter in model.parameters()}
    groups = found.param_groups
    if any(id(parameter) not in own for group in groups for parameter in group["params"]):
        told = "take those of the model that it is called with"
        raise invalid(f"Task.optimizer has parameters that are not the model's: {told}")
    rates = [float(group["lr"]) for group in groups]
    if abs(max(rates) - lr) > 1e-6 * lr or min(rates) <= 0:
        told = "the largest must be the rate itself, none 0: others are a part of it"
        raise invalid(f"Task.optimizer, called with {lr:g}, has groups at {_listed(rates)}: {told}")
    return found


def check_groups(found: Any, model: nn.Module) -> list[dict[str, Any]]:
    """What `Task.param_groups` gave, as groups of what trains in the model.

    Raises:
        CodeError: they are none, leave a parameter out or have one twice.
    """
    if not isinstance(found, Sequence) or not found:
        raise invalid(f"Task.param_groups must give a list of dicts, it gave {_described(found)}")
    groups = [_group(group, f"Task.param_groups[{i}]") for i, group in enumerate(found)]
    names = {id(p): name for name, p in model.named_parameters()}
    every = [id(p) for group in groups for p in group["params"]]
    if not set(every) <= set(names):
        raise invalid("Task.param_groups has parameters that are not the model's")
    twice = {names[i] for i in every if every.count(i) > 1}
    if twice:
        raise invalid(f"Task.param_groups has {_listed(sorted(twice))} twice")
    left = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in every]
    if left:
        told = "list all that trains; requires_grad = False is for what does not"
        raise invalid(f"Task.param_groups leaves out {_listed(left)}: {told}")
    largest = max(group["lr_ratio"] for group in groups)
    if largest < 1:
        raise invalid(f"Task.param_groups: the largest lr_ratio is {largest:g}, it must be 1")
    return [trained for trained in map(_trained, groups) if trained["params"]]


def _group(group: Any, field: str) -> dict[str, Any]:
    if not isinstance(group, dict) or "params" not in group:
        raise invalid(f"{field} is {_described(group)}: it must be a dict with params")
    unknown = sorted(set(group) - _GROUP)
    if unknown:
        raise invalid(f"{field} has {_listed(unknown)}: possible are {_listed(sorted(_GROUP))}")
    params = group["params"]
    params = [params] if isinstance(params, Tensor) else list(params)
    ratio = check_number(group.get("lr_ratio", 1.0), f"{field}: lr_ratio")
    if not 0 < ratio <= 1:
        raise invalid(f"{field}: lr_ratio is {ratio:g}, it must be above 0 and at most 1")
    checked: dict[str, Any] = {"params": params, "lr_ratio": ratio}
    if "weight_decay" in group:
        decay = check_number(group["weight_decay"], f"{field}: weight_decay")
        if not decay >= 0:
            raise invalid(f"{field}: weight_decay is {decay:g}, it must be 0 or more")
        checked["weight_decay"] = decay
    return checked


def _trained(group: dict[str, Any]) -> dict[str, Any]:
    return {**group, "params": [p for p in group["params"] if p.requires_grad]}


def _described(found: object) -> str:
    if found is None:
        return "None"
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)}"
    length = f" of {len(found)}" if isinstance(found, tuple | list | dict) else ""
    return f"of type {type(found).__name__}{length}"


def _listed(things: Sequence[Any]) -> str:
    shown = ", ".join(f"{t:g}" if isinstance(t, float) else str(t) for t in things[:5])
    return shown + (", ..." if len(things) > 5 else "")
