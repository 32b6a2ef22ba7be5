"""What is trained: data on the device, the model, its loss, and its evaluation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from lrtuner.errors import JobFailedError
from lrtuner.fitting import NUMBERS
from lrtuner.job import JobSpec, derived_seed
from lrtuner.losses import learned
from lrtuner.optimizers import Muon
from lrtuner.sources import mismatch_of
from worker.data import Data, Split
from worker.ema import Ema
from worker.losses import CROSS_ENTROPY, LOSSES, Loss, counted
from worker.metrics import measure
from worker.optimizers import Parameters, make_optimizer
from worker.param_groups import check, freeze, groups
from worker.sources import DATASETS, MODELS, NOTES

EVALUATION_BATCH = 1024

Batch = Any
"""What the data gives for one backward pass; only a task's own `loss` looks into it."""


@dataclass(frozen=True)
class Task:
    """One job's training problem, ready to be trained any number of times.

    Whatever trains asks it for `batches`, a `loss` of each and what `evaluate` gives for a split,
    and knows nothing else of the data. `notes` are what one should know of the model and the data.
    """

    spec: JobSpec
    data: Data
    build_model: Callable[[], nn.Module]
    device: torch.device
    total_steps: int
    notes: Sequence[str] = field(default=(), kw_only=True)

    @property
    def batch_size(self) -> int:
        """Examples per batch."""
        return self.spec.training.batch_size

    @property
    def grad_accum(self) -> int:
        """Batches per update."""
        return self.spec.training.grad_accum

    @property
    def examples_per_update(self) -> int:
        """Examples per update."""
        return self.spec.training.examples_per_update

    @property
    def steps_per_epoch(self) -> int:
        """Updates per pass over the training split; an incomplete one is dropped."""
        return self.spec.training.steps_per_epoch(len(self.data.train))

    def model(self, seed: int) -> nn.Module:
        """A freshly initialised model on the device; the same weights for the same seed.

        Leaves torch's global generator in a state that depends on `seed` alone, so that dropout
        masks repeat as well.
        """
        torch.manual_seed(derived_seed(seed, "init"))
        model = self.build_model().to(self.device)
        freeze(self.spec.training, model)
        torch.manual_seed(derived_seed(seed, "dropout"))
        return model

    @property
    def examples_per_evaluation(self) -> int:
        """Examples that are seen to evaluate the validation split once."""
        return len(self.data.validation)

    def optimizer(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        """What trains, at `lr`; where the job clips gradients, each of its steps does so."""
        training = self.spec.training
        matrices = isinstance(self.spec.optimizer, Muon)
        parameters: Parameters = model.parameters()
        if training.names_parameters or matrices:
            parameters = groups(training, model, matrices=matrices)
        optimizer = self.build_optimizer(parameters, lr)
        norm, value = training.grad_clip_norm, training.grad_clip_value
        if norm is not None:
            optimizer.register_step_pre_hook(lambda *_: _clip_norm(model, norm))
        if value is not None:
            optimizer.register_step_pre_hook(lambda *_: _clip_value(model, value))
        return optimizer

    def build_optimizer(self, parameters: Parameters, lr: float) -> torch.optim.Optimizer:
        """The job's optimizer at `lr`."""
        scaled = self.spec.training.precision == "fp16"
        return make_optimizer(self.spec.optimizer, parameters, lr, scaled=scaled)

    def evaluating(
        self,
        model: nn.Module,  # noqa: ARG002
        optimizer: torch.optim.Optimizer,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Within it the model has the weights that are evaluated: those that it trains with."""
        return nullcontext()

    def ema(self, model: nn.Module) -> Ema | None:
        """The average of the weights that is evaluated, where the job asks for one."""
        decay = self.spec.training.ema_decay
        return None if decay is None else Ema(model, decay)

    def scaler(self) -> torch.amp.GradScaler | None:
        """What scales the loss, where gradients would be too small for the precision."""
        half = self.spec.training.precision == "fp16"
        return torch.amp.GradScaler(self.device.type) if half else None

    def autocast(self) -> AbstractContextManager[Any]:
        """Within it the model computes in the job's precision."""
        if self.spec.training.precision == "float32":
            return nullcontext()
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[self.spec.training.precision]
        return torch.autocast(self.device.type, dtype=dtype)

    def precise_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss, computed in the job's precision."""
        if self.spec.training.precision == "float32":
            return self.loss(model, batch)
        with self.autocast():
            return self.loss(model, batch)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """What training brings down: a scalar, the mean over the batch."""
        inputs, targets = batch
        return self.criterion.mean(model(inputs).float(), self._expected(inputs, targets))

    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """The mean `loss` over a split, and metrics by name, in evaluation mode.

        The mode is put back; nothing else changes. `accuracy` comes with every classification and
        language model, other metrics where the job asks for them.
        """
        return evaluate(
            model,
            split,
            self.criterion,
            self.spec.measured,
            reconstructs=self._reconstructs,
            batch=self.evaluation_batch,
        )

    @property
    def evaluation_batch(self) -> int:
        """Examples that are evaluated together: of a large model no more than are trained on."""
        return EVALUATION_BATCH if self.spec.model.source == "builtin" else self.batch_size

    @cached_property
    def criterion(self) -> Loss:
        """The loss that is trained."""
        config = self.spec.trained_loss
        return LOSSES[type(config)](config, self.data)

    def _expected(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return inputs if self._reconstructs else targets

    @cached_property
    def _reconstructs(self) -> bool:
        return learned(self.spec.trained_loss, self.spec.dataset) == "inputs"

    def held_out(self, seed: int, count: int) -> Batch:
        """`count` examples of the validation split; which ones, the seed says."""
        split = self.data.validation
        generator = torch.Generator().manual_seed(derived_seed(seed, "held_out"))
        chosen = torch.randperm(len(split), generator=generator)[:count].to(self.device)
        return split.inputs.index_select(0, chosen), split.targets.index_select(0, chosen)

    def batches(self, seed: int, count: int, start: int = 0) -> Iterator[Batch]:
        """`count` training batches, reshuffled each epoch; the same order for the same seed.

        An update takes `grad_accum` of them. With `start` so many are skipped first.
        """
        train = self.data.train
        for index in islice(self._order(seed), start, start + count):
            yield train.inputs.index_select(0, index), train.targets.index_select(0, index)

    def _order(self, seed: int) -> Iterator[Tensor]:
        """The examples of one batch after another, without an end."""
        generator = torch.Generator().manual_seed(derived_seed(seed, "order"))
        while True:
            order = torch.randperm(len(self.data.train), generator=generator).to(self.device)
            yield from order.split(self.batch_size)[: self.steps_per_epoch * self.grad_accum]


def _clip_norm(model: nn.Module, norm: float) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), norm)


def _clip_value(model: nn.Module, value: float) -> None:
    nn.utils.clip_grad_value_(model.parameters(), value)


def evaluate(
    model: nn.Module,
    split: Split,
    criterion: Loss = CROSS_ENTROPY,
    metrics: Sequence[str] = (),
    *,
    reconstructs: bool = False,
    batch: int = EVALUATION_BATCH,
) -> dict[str, float]:
    """The mean loss over a split, `accuracy` where it counts hits, and the metrics asked for.

    So many examples as `batch` says are looked at together.
    """
    total = weight = 0.0
    hits = places = 0
    rows: list[tuple[Tensor, Tensor]] = []
    whole = [name for name in metrics if name not in ("accuracy", "perplexity")]
    with evaluation_mode(model):
        for start in range(0, len(split), batch):
            inputs = split.inputs[start : start + batch]
            outputs = model(inputs).float()
            targets = split.targets[start : start + batch]
            expected = inputs if reconstructs else targets
            part = criterion.total(outputs, expected)
            total, weight = total + part[0], weight + part[1]
            if criterion.counts_hits:
                hits += int((outputs.argmax(dim=-1) == expected).sum().item())
                places += counted(expected)
            if whole:
                rows.append((outputs, expected))
    measured = {"loss": total / weight}
    if criterion.counts_hits:
        measured["accuracy"] = hits / places
    if "perplexity" in metrics:
        measured["perplexity"] = float(np.exp(total / weight))
    if whole:
        every, wanted = (torch.cat(parts) for parts in zip(*rows, strict=True))
        measured |= measure(whole, every, wanted)
    return measured


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Within it the model is evaluated and no gradient kept; then every mode is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def make_task(spec: JobSpec, device: torch.device) -> Task:
    """Build the data once, and check that the model fits it, before anything trains.

    Raises:
        JobFailedError: the job's lengths do not fit the data, or the model cannot be built for it.
    """
    data = DATASETS[type(spec.dataset)](spec.dataset, derived_seed(spec.seed, "split"))
    try:
        total_steps = spec.total_steps(len(data.train))
    except PydanticCustomError as error:
        where = (error.context or {}).get("field")
        raise JobFailedError(f"{where}: {error}") from error
    _check_precision(spec.training.precision, device)
    _check_kind(spec, data)
    notes = [*data.notes, *_notes(spec, data)]
    data = data.to(device)
    if learned(spec.trained_loss, spec.dataset) == "inputs":
        data = replace(data, num_outputs=data.train.inputs[0].numel())
    task = Task(
        spec=spec,
        data=data,
        build_model=lambda: MODELS[type(spec.model)](spec.model, data),
        device=device,
        total_steps=total_steps,
        notes=notes,
    )
    assert task.criterion  # noqa: S101 - refuses weights that do not fit the data
    if spec.training.names_parameters:
        with torch.random.fork_rng([]):
            check(spec.training, task.model(0))
    return task


def _check_precision(precision: str, device: torch.device) -> None:
    if precision != "float32" and device.type not in ("cpu", "cuda"):
        told = f"{precision} is not possible on {device.type}, only on cpu and cuda; use float32"
        raise JobFailedError(f"training.precision: {told}")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise JobFailedError("training.precision: this GPU has no bf16; use fp16 or float32")


def _notes(spec: JobSpec, data: Data) -> Sequence[str]:
    """What is said of a model that a library brings; it is built and tried once for that."""
    look = NOTES.get(type(spec.model))
    if look is None:
        return ()
    with torch.random.fork_rng([]):
        return look(spec.model, data)


def _check_kind(spec: JobSpec, data: Data) -> None:
    """What a file holds is known for sure only now."""
    inputs = data.train.inputs
    kind = "features" if inputs.dim() < 4 else "images"
    if not inputs.is_floating_point():
        kind = "tokens"
    problem = mismatch_of(spec.model, spec.dataset.name, frozenset({kind}))
    if problem:
        raise JobFailedError(f"model.name: {problem}")
    numbers = spec.dataset.source != "builtin" and data.train.targets.is_floating_point()
    if numbers and spec.dataset.targets != "values":
        raise JobFailedError(f"dataset.args.task: {NUMBERS}")
