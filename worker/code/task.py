"""The task of a job whose model is code: what its `build` gives, trained as the job says."""

import copy
import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import lrtuner
from lrtuner.job import JobSpec, derived_seed
from lrtuner.losses import BinaryCrossEntropy
from lrtuner.objective import metric_of
from lrtuner.sources import Code, Entrypoint, OwnData, Targets
from lrtuner.task import NamedData
from worker.code import checks
from worker.code.checks import invalid
from worker.code.examples import NOTHING, CodeData, Examples, examples
from worker.code.project import Project, from_entrypoint, from_folder
from worker.code.randomness import repeatable, seed_all
from worker.data import Data
from worker.losses import Outputs, counted
from worker.metrics import measure
from worker.optimizers import Parameters, lr_ratios, set_rate
from worker.param_groups import check, split_matrices
from worker.task import (
    Batch,
    Task,
    check_precision,
    evaluation_mode,
    named_data,
    settled_by,
    total_steps,
)

_ACCURACY, _PERPLEXITY = "accuracy", "perplexity"


@dataclass(frozen=True)
class CodeTask(Task):
    """A task of whose model, data, loss and optimizer the user's code may say what they are.

    Splits are evaluated in batches of the size of the training, which is known to fit. Evaluation
    draws from generators of its own, so that how often there is one changes no run.
    """

    data: CodeData  # type: ignore[assignment] # the base reads their lengths alone
    own: lrtuner.Task
    project: Project

    def model(self, seed: int) -> nn.Module:
        """See `Task`; the generators of Python and NumPy depend on `seed` alone, too."""
        seed_all(derived_seed(seed, "init"))
        return super().model(seed)

    # the optimizer -------------------------------------------------------------------------------

    def unclipped_optimizer(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        """See `Task`; where the code makes it, its groups keep their ratios to the rate."""
        if self.own.optimizer is None:
            return super().unclipped_optimizer(model, lr)
        start = lr if lr > 0 else 1.0  # a ratio to 0 would be none
        with self.project.blamed():
            found = self.own.optimizer(model, start)
        optimizer = checks.check_optimizer(found, model, start)
        for group in optimizer.param_groups:
            group["lr_ratio"] = float(group["lr"]) / start
        set_rate(optimizer, lr_ratios(optimizer), lr)
        return optimizer

    def parameters(self, model: nn.Module) -> Parameters:
        """See `Task`."""
        if self.own.param_groups is None:
            return super().parameters(model)
        with self.project.blamed():
            found = self.own.param_groups(model)
        groups = checks.check_groups(found, model)
        return split_matrices(groups, model) if self.trains_matrices else groups

    # data ----------------------------------------------------------------------------------------

    def batches(self, seed: int, count: int, start: int = 0) -> Iterator[Batch]:
        """See `Task`; the examples of a batch are fetched when it is taken."""
        order = self._order(seed)
        for _ in range(start):
            next(order)
        for _ in range(count):
            yield self.data.train.batch(next(order))

    def held_out(self, seed: int, count: int) -> Batch:
        """See `Task`."""
        generator = torch.Generator().manual_seed(derived_seed(seed, "held_out"))
        chosen = torch.randperm(len(self.data.validation), generator=generator)[:count]
        with repeatable(seed, "held_out"):
            return self.data.validation.batch(chosen)

    # the loss ------------------------------------------------------------------------------------

    @property
    def outputs(self) -> Outputs:
        """See `Task`; of data of one's own nobody says how many outputs there are."""
        return Outputs(self.data.num_outputs, self.device)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """See `Task`."""
        if self.own.step is not None:
            return self._step(model, batch)[0]
        outputs, expected = self._outputs(model, batch)
        return self._mean(outputs, expected)

    def _step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        assert self.own.step is not None, "asked for tasks with one"  # noqa: S101
        with self.project.blamed():
            found = self.own.step(model, batch)
        return checks.check_stepped(found)

    def _outputs(self, model: nn.Module, batch: Batch) -> tuple[Any, Any]:
        """What the model gives for the batch, and what it should."""
        inputs, targets = checks.pair_of(batch)
        with self.project.blamed():
            outputs = model(inputs)
        return outputs, self._expected(inputs, targets)

    def _mean(self, outputs: Any, expected: Any) -> Tensor:
        with self.project.blamed():
            if self.own.loss is None:
                return self.criterion.mean(_tensor(outputs, "the job's loss"), expected)
            found = self.own.loss(outputs, expected)
        return checks.check_loss(found, "Task.loss")

    # evaluation ----------------------------------------------------------------------------------

    def evaluate(self, model: nn.Module, split: Examples) -> dict[str, float]:  # type: ignore[override]
        """See `Task`. The code's own metrics are measured with those that the job asks for.

        Of `step` these are means over the examples; where one is not a number there is none.
        A split that is not there has no metrics.
        """
        if not len(split):
            return {}
        with evaluation_mode(model), repeatable("evaluation"):
            parts = torch.arange(len(split)).split(self.batch_size)
            return self._evaluated(model, split, parts)

    def _evaluated(
        self, model: nn.Module, split: Examples, parts: Sequence[Tensor]
    ) -> dict[str, float]:
        if self.own.step is not None:
            return self._stepped(model, split, parts)
        total = weight = 0.0
        hits = places = 0
        rows: list[tuple[Tensor, Tensor]] = []
        for part in parts:
            outputs, expected = self._outputs(model, split.batch(part))
            if self.own.loss is not None:
                found = self._mean(outputs, expected).item() * len(part), float(len(part))
            else:
                with self.project.blamed():
                    outputs = _tensor(outputs, "the job's loss")
                    found = self.criterion.total(outputs, expected)
            total, weight = total + found[0], weight + found[1]
            if self._counts_hits:
                hits += int((_tensor(outputs, _ACCURACY).argmax(-1) == expected).sum().item())
                places += counted(expected)
            if self._whole or self.own.metrics:
                rows.append((_tensor(outputs, "metrics"), expected))
        measured = {"loss": total / weight}
        if self._counts_hits:
            measured[_ACCURACY] = hits / places
        if _PERPLEXITY in self.spec.measured and _PERPLEXITY not in self.own.metrics:
            measured[_PERPLEXITY] = math.exp(min(total / weight, 700.0))
        return measured | self._of_whole(rows)

    def _of_whole(self, rows: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """The metrics that need all outputs at once."""
        if not rows:
            return {}
        outputs, expected = (torch.cat(parts) for parts in zip(*rows, strict=True))
        measured = measure(self._whole, outputs, expected) if self._whole else {}
        for name, metric in self.own.metrics.items():
            with self.project.blamed():
                found = metric(outputs, expected)
            measured[name] = checks.check_number(found, f"Task.metrics[{name!r}]")
        return measured

    def _stepped(
        self, model: nn.Module, split: Examples, parts: Sequence[Tensor]
    ) -> dict[str, float]:
        totals: dict[str, float] = {}
        for part in parts:
            loss, metrics = self._step(model, split.batch(part))
            for name, value in {"loss": loss.item(), **metrics}.items():
                totals[name] = totals.get(name, 0.0) + value * len(part)
        seen = sum(map(len, parts))
        return {name: total / seen for name, total in totals.items()}

    @cached_property
    def _whole(self) -> list[str]:
        """The job's metrics of a whole split that the code does not measure itself."""
        own = {_ACCURACY, _PERPLEXITY, *self.own.metrics}
        return [name for name in self.spec.measured if name not in own]

    @property
    def _counts_hits(self) -> bool:
        if _ACCURACY in self.own.metrics:
            return False
        usual = self.own.loss is None and self.criterion.counts_hits
        return usual or _ACCURACY in self.spec.measured

    # checks --------------------------------------------------------------------------------------

    def try_out(self) -> None:
        """Train no step, but take all the ways of one: what is wrong is told before any run.

        Raises:
            CodeError: something that the code gives is not what can be trained.
        """
        with repeatable("try out"):
            found = self._tried(self.model(0))
            self.build_model()  # a second one, which must not be the first
        for name in self.spec.measured:
            if name not in found:
                told = f"the task's code measures {', '.join(sorted(found))}"
                raise invalid(f"the job asks for {name}, and {told}: return it from step")

    def _tried(self, model: nn.Module) -> dict[str, float]:
        """What is measured on the first examples of the validation split."""
        check(self.spec.training, model)
        ratios = lr_ratios(self.optimizer(model, 1e-3))
        if min(ratios) < 1 and "prodigy" in self.spec.search.compare:
            told = f"prodigy has one rate for all parameters, the task has {min(ratios):g} of it"
            raise invalid(f"search.compare: {told}, too: leave one of them out")
        batch = next(self.batches(0, 1))
        if self.own.step is None:
            self._check_targets(checks.pair_of(batch)[1])
        loss = self.precise_loss(model, batch)
        if not loss.requires_grad:
            field = "step" if self.own.step else "loss"
            raise invalid(f"Task.{field} gave a loss that depends on no parameter of the model")
        first = torch.arange(min(self.batch_size, len(self.data.validation)))
        with evaluation_mode(model), self.autocast():
            return self._evaluated(model, self.data.validation, [first])

    def _check_targets(self, targets: Any) -> None:
        """The usual loss and the metrics with a name are for some kinds of targets."""
        spec = self.spec
        numbers = not isinstance(targets, Tensor) or targets.is_floating_point()
        guessed = self.own.loss is None and spec.loss is None and spec.dataset.targets is None
        if guessed and numbers:
            told = "give Task.loss or Task.step, or name a loss in the job"
            raise invalid(f"the targets are no classes, and no loss is given: {told}")
        kinds = self._kinds(targets)
        for name in spec.measured:
            if name in self.own.metrics:
                continue
            if name == _PERPLEXITY and self.own.loss is not None:
                raise invalid("the job asks for perplexity: measure it in Task.metrics")
            if not kinds & metric_of(name).fits:
                told = f"targets of type {getattr(targets, 'dtype', type(targets).__name__)}"
                raise invalid(f"the job asks for {name}, which is not defined for {told}")

    def _kinds(self, targets: Any) -> set[Targets]:
        if self._reconstructs:
            return {"inputs"}
        if not isinstance(targets, Tensor):
            return set()
        if not targets.is_floating_point():
            return {"classes"} if targets.ndim == 1 else {"tokens"}
        if self.own.loss is not None:
            return {"labels", "values"}
        return {"labels"} if isinstance(self.spec.trained_loss, BinaryCrossEntropy) else {"values"}


class _Models:
    """Makes a new model each time: a copy of the module, or what the function gives."""

    def __init__(self, own: lrtuner.Task, project: Project) -> None:
        self.own, self.project = own, project
        self.given: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()

    def __call__(self) -> nn.Module:
        with self.project.blamed():
            made = self.own.model
            found = copy.deepcopy(made) if isinstance(made, nn.Module) else made()
        model = checks.check_model(found)
        for name, parameter in model.named_parameters():
            if self.given.get(id(parameter)) is parameter:
                told = "make all of them in the function, or give the module in its place"
                raise invalid(f"Task.model gives {name} a second time, already trained: {told}")
        self.given.update((id(parameter), parameter) for parameter in model.parameters())
        return model.train()  # a pretrained one may come in evaluation mode


def make_code_task(
    spec: JobSpec, device: torch.device, folder: Path | None, data: Data | None = None
) -> CodeTask:
    """Call the user's `build`, and check all that it gives.

    Args:
        spec: the job; its model is code.
        device: where to train.
        folder: of an uploaded project.
        data: that of a dataset that the job names, where it was read already.

    Raises:
        CodeError: the code fails, with its lines; or gives what cannot be trained.
        JobFailedError: what it gives does not fit the job.
    """
    check_precision(spec.training.precision, device)
    project, args = _project(spec, folder)
    if not isinstance(spec.dataset, OwnData):
        data = data or named_data(spec)
        spec = settled_by(spec, data)
    named = _named(data)
    context = lrtuner.Context(
        args=copy.deepcopy(args),
        seed=derived_seed(spec.seed, "split"),
        batch_size=spec.training.batch_size,
        device=str(device),
        folder=project.folder,
        data=named,
    )
    with repeatable(spec.seed, "build"), project.blamed():
        own = checks.check_task(project.build(context))
    _check_fits(spec, own)
    splits = checks.splits_of(own, named)
    parts = {
        name: NOTHING if split is None else examples(split, own.collate, device, project)
        for name, split in splits.items()
    }
    task = CodeTask(
        spec=spec,
        data=CodeData(**parts, num_outputs=named.num_outputs if named else None),
        build_model=_Models(own, project),
        device=device,
        total_steps=total_steps(spec, len(parts["train"])),
        own=own,
        project=project,
    )
    task.try_out()
    return task


def _project(spec: JobSpec, folder: Path | None) -> tuple[Project, dict[str, Any]]:
    if isinstance(spec.model, Entrypoint):
        return from_entrypoint(spec.model), spec.model.args
    assert isinstance(spec.model, Code), "asked for these two"  # noqa: S101
    if folder is None:
        told = "the job has code as its model, but no folder is given (--code FOLDER)"
        raise invalid(f"model.source: {told}")
    return from_folder(folder), spec.model.args


def _named(data: Data | None) -> NamedData | None:
    """The dataset that the job names, as the code is given it."""
    if data is None:
        return None
    pairs = {
        name: (getattr(data, name).inputs, getattr(data, name).targets) for name in checks.SPLITS
    }
    return NamedData(**pairs, num_outputs=data.num_outputs)


def _check_fits(spec: JobSpec, own: lrtuner.Task) -> None:
    """What the job says and what the code gives must not be in each other's way."""
    custom = spec.optimizer.name == "custom"
    if custom and own.optimizer is None:
        raise invalid("optimizer.name is 'custom' in the job, but Task.optimizer is None")
    if own.optimizer is not None and not custom:
        told = f"the job's is {spec.optimizer.name!r}; for the code's own write 'custom' there"
        raise invalid(f"Task.optimizer is given, but {told}")
    if own.param_groups is not None:
        for name in ("param_groups", "no_decay"):
            if getattr(spec.training, name):
                raise invalid(f"Task.param_groups and training.{name} of the job: give one of them")
    if spec.loss is not None and (own.loss or own.step):
        given = "loss" if own.loss else "step"
        raise invalid(f"Task.{given} and loss of the job ({spec.loss.name}): give one of them")


def _tensor(outputs: Any, what: str) -> Tensor:
    """The outputs as numbers of single precision.

    Raises:
        CodeError: they are no tensor.
    """
    if not isinstance(outputs, Tensor):
        told = "the model must give one tensor; give step for anything else"
        raise invalid(f"{what} needs outputs, but the model gives {type(outputs).__name__}: {told}")
    return outputs.float()
