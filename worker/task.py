"""What is trained: data on the device, the model, its loss, and its evaluation."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice

import torch
from pydantic_core import PydanticCustomError
from torch import Tensor, nn
from torch.nn import functional

from lrtuner.errors import JobFailedError
from lrtuner.fitting import NO_REGRESSION
from lrtuner.job import JobSpec, derived_seed
from lrtuner.sources import mismatch_of
from worker.data import Data, Split
from worker.optimizers import make_optimizer
from worker.sources import DATASETS, MODELS

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Task:
    """One job's training problem, ready to be trained any number of times."""

    spec: JobSpec
    data: Data
    build_model: Callable[[], nn.Module]
    device: torch.device
    total_steps: int

    @property
    def batch_size(self) -> int:
        """Examples per update."""
        return self.spec.training.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Updates per pass over the training split; an incomplete batch is dropped."""
        return len(self.data.train) // self.batch_size

    def model(self, seed: int) -> nn.Module:
        """A freshly initialised model on the device; the same weights for the same seed.

        Leaves torch's global generator in a state that depends on `seed` alone, so that dropout
        masks repeat as well.
        """
        torch.manual_seed(derived_seed(seed, "init"))
        model = self.build_model().to(self.device)
        torch.manual_seed(derived_seed(seed, "dropout"))
        return model

    @property
    def examples_per_evaluation(self) -> int:
        """Examples that are seen to evaluate the validation split once."""
        return len(self.data.validation)

    def optimizer(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        """What trains, at `lr`; where the job clips gradients, each of its steps does so."""
        optimizer = self.build_optimizer(model.parameters(), lr)
        norm = self.spec.training.grad_clip_norm
        if norm is not None:
            optimizer.register_step_pre_hook(lambda *_: _clip(model, norm))
        return optimizer

    def build_optimizer(
        self, parameters: Iterable[nn.Parameter], lr: float
    ) -> torch.optim.Optimizer:
        """The job's optimizer at `lr`."""
        return make_optimizer(self.spec.optimizer, parameters, lr)

    def evaluating(
        self,
        model: nn.Module,  # noqa: ARG002
        optimizer: torch.optim.Optimizer,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Within it the model has the weights that are evaluated: those that it trains with."""
        return nullcontext()

    def batches(self, seed: int, count: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """`count` training batches, reshuffled each epoch; the same order for the same seed.

        With `start` so many batches are skipped first: what a run sees after `start` updates.
        """
        train = self.data.train
        for index in islice(self._order(seed), start, start + count):
            yield train.inputs.index_select(0, index), train.targets.index_select(0, index)

    def _order(self, seed: int) -> Iterator[Tensor]:
        """The examples of one batch after another, without an end."""
        generator = torch.Generator().manual_seed(derived_seed(seed, "order"))
        while True:
            order = torch.randperm(len(self.data.train), generator=generator).to(self.device)
            yield from order.split(self.batch_size)[: self.steps_per_epoch]


def _clip(model: nn.Module, norm: float) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), norm)


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over every target: classes of examples, or characters of a text."""
    logits = model(inputs)
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


@torch.no_grad()
def evaluate(model: nn.Module, split: Split) -> dict[str, float]:
    """Mean `loss` and `accuracy` over a split, in evaluation mode; the mode is put back."""
    was_training = model.training
    model.eval()
    loss, correct, total = 0.0, 0, 0
    for start in range(0, len(split), EVALUATION_BATCH):
        targets = split.targets[start : start + EVALUATION_BATCH].flatten()
        logits = model(split.inputs[start : start + EVALUATION_BATCH]).flatten(0, -2)
        loss += functional.cross_entropy(logits, targets, reduction="sum").item()
        correct += int((logits.argmax(dim=-1) == targets).sum().item())
        total += targets.numel()
    model.train(was_training)
    return {"loss": loss / total, "accuracy": correct / total}


def make_task(spec: JobSpec, device: torch.device) -> Task:
    """Build the data once, and check that the model fits it, before anything trains.

    Raises:
        JobFailedError: the job's lengths do not fit the data, or the model cannot be built for it.
    """
    data = DATASETS[type(spec.dataset)](spec.dataset, derived_seed(spec.seed, "split"))
    try:
        total_steps = spec.total_steps(len(data.train))
    except PydanticCustomError as error:
        field = (error.context or {}).get("field")
        raise JobFailedError(f"{field}: {error}") from error
    _check_kind(spec, data)
    data = data.to(device)
    return Task(
        spec=spec,
        data=data,
        build_model=lambda: MODELS[type(spec.model)](spec.model, data),
        device=device,
        total_steps=total_steps,
    )


def _check_kind(spec: JobSpec, data: Data) -> None:
    """What a file holds is known for sure only now."""
    inputs = data.train.inputs
    kind = "features" if inputs.dim() < 4 else "images"
    if not inputs.is_floating_point():
        kind = "tokens"
    problem = mismatch_of(spec.model, spec.dataset.name, frozenset({kind}))
    if problem:
        raise JobFailedError(f"model.name: {problem}")
    if data.train.targets.is_floating_point():
        raise JobFailedError(f"dataset: {NO_REGRESSION}")
