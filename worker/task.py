"""What is trained: data on the device, the model, its loss, and its evaluation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from lrtuner.errors import JobFailedError
from lrtuner.fitting import settled
from lrtuner.job import JobSpec, derived_seed
from lrtuner.losses import learned
from lrtuner.optimizers import Muon
from lrtuner.sources import Code, Entrypoint
from worker.data import Data, Split
from worker.ema import Ema
from worker.losses import CROSS_ENTROPY, LOSSES, Loss, Outputs, counted
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
        optimizer = self.unclipped_optimizer(model, lr)
        norm, value = self.spec.training.grad_clip_norm, self.spec.training.grad_clip_value
        if norm is not None:
            optimizer.register_step_pre_hook(lambda *_: _clip_norm(model, norm))
        if value is not None:
            optimizer.register_step_pre_hook(lambda *_: _clip_value(model, value))
        return optimizer

    def unclipped_optimizer(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        """The same, but that gradients are as they are."""
        return self.build_optimizer(self.parameters(model), lr)

    def parameters(self, model: nn.Module) -> Parameters:
        """What trains, as groups where the job or the optimizer makes a difference."""
        training = self.spec.training
        if training.names_parameters or self.trains_matrices:
            return groups(training, model, matrices=self.trains_matrices)
        return model.parameters()

    @property
    def trains_matrices(self) -> bool:
        """Whether the optimizer treats weight matrices in a way of their own."""
        return isinstance(self.spec.optimizer, Muon)

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
            device=self.device,
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
        return LOSSES[type(config)](config, self.outputs)

    @property
    def outputs(self) -> Outputs:
        """What the model gives for an example."""
        return Outputs(self.data.num_outputs, self.device)

    def _expected(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return inputs if self._reconstructs else targets

    @cached_property
    def _reconstructs(self) -> bool:
        return learned(self.spec.trained_loss, self.spec.dataset) == "inputs"

    def held_out(self, seed: int, count: int) -> Batch:
        """`count` examples of the validation split; which ones, the seed says."""
        split = self.data.validation
        generator = torch.Generator().manual_seed(derived_seed(seed, "held_out"))
        chosen = torch.randperm(len(split), generator=generator)[:count]
        return self._examples(split, chosen.to(split.inputs.device))

    def batches(self, seed: int, count: int, start: int = 0) -> Iterator[Batch]:
        """`count` training batches, reshuffled each epoch; the same order for the same seed.

        An update takes `grad_accum` of them. With `start` so many are skipped first.
        """
        for index in islice(self._order(seed), start, start + count):
            yield self._examples(self.data.train, index)

    def _examples(self, split: Split, index: Tensor) -> Batch:
        """These of a split, on the device; the split lies there as well, unless it is streamed."""
        inputs, targets = (v.index_select(0, index) for v in (split.inputs, split.targets))
        return inputs.to(self.device), targets.to(self.device)

    def _order(self, seed: int) -> Iterator[Tensor]:
        """The examples of one batch after another, without an end."""
        generator = torch.Generator().manual_seed(derived_seed(seed, "order"))
        while True:
            order = torch.randperm(len(self.data.train), generator=generator)
            order = order.to("cpu" if self.data.streamed else self.device)
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
    device: torch.device | None = None,
    batch: int = EVALUATION_BATCH,
) -> dict[str, float]:
    """The mean loss over a split, `accuracy` where it counts hits, and the metrics asked for.

    So many examples as `batch` says are looked at together; they are moved to `device`, where the
    split lies on another one.
    """
    total = weight = 0.0
    hits = places = 0
    rows: list[tuple[Tensor, Tensor]] = []
    whole = [name for name in metrics if name not in ("accuracy", "perplexity")]
    with evaluation_mode(model):
        for start in range(0, len(split), batch):
            inputs = split.inputs[start : start + batch].to(device)
            outputs = model(inputs).float()
            targets = split.targets[start : start + batch].to(device)
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


def make_task(
    spec: JobSpec,
    device: torch.device,
    project: Path | None = None,
    data: Data | None = None,
) -> Task:
    """Build the data once, and check that the model fits it, before anything trains.

    Args:
        spec: the job.
        device: where to train.
        project: the folder of the user's code, for a job whose model is uploaded code.
        data: that of a dataset that the job names, where it was read already.

    Raises:
        JobFailedError: the job's lengths do not fit the data, the model cannot be built for it, or
            code of the user's fails or gives what cannot be trained.
    """
    if isinstance(spec.model, Code | Entrypoint):
        # imported here: it builds on this module
        from worker.code.task import make_code_task  # noqa: PLC0415

        return make_code_task(spec, device, project, data)
    data = data or named_data(spec)
    spec = settled_by(spec, data)
    steps = total_steps(spec, len(data.train))
    check_precision(spec.training.precision, device)
    notes = [*data.notes, *_notes(spec, data)]
    data = data.to(device)
    if learned(spec.trained_loss, spec.dataset) == "inputs":
        data = replace(data, num_outputs=data.train.inputs[0].numel())
    task = Task(
        spec=spec,
        data=data,
        build_model=lambda: MODELS[type(spec.model)](spec.model, data),
        device=device,
        total_steps=steps,
        notes=notes,
    )
    assert task.criterion  # noqa: S101 - refuses weights that do not fit the data
    if spec.training.names_parameters:
        with torch.random.fork_rng([]):
            check(spec.training, task.model(0))
    return task


def named_data(spec: JobSpec) -> Data:
    """The dataset that the job names, split by its seed."""
    return DATASETS[type(spec.dataset)](spec.dataset, derived_seed(spec.seed, "split"))


def settled_by(spec: JobSpec, data: Data) -> JobSpec:
    """The job with what the file of its data was seen to hold (see `lrtuner.fitting`).

    Raises:
        JobFailedError: it does not fit; it names the field.
    """
    if data.found is None:
        return spec
    try:
        return settled(spec, data.found)
    except PydanticCustomError as error:
        raise _not_fitting(error) from error


def total_steps(spec: JobSpec, num_train: int) -> int:
    """The updates of a full run over so many examples.

    Raises:
        JobFailedError: the job's lengths do not fit them; it names the field.
    """
    try:
        return spec.total_steps(num_train)
    except PydanticCustomError as error:
        raise _not_fitting(error) from error


def _not_fitting(error: PydanticCustomError) -> JobFailedError:
    return JobFailedError(f"{(error.context or {}).get('field')}: {error}")


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse what the device cannot compute in.

    Raises:
        JobFailedError: it says what it can.
    """
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
