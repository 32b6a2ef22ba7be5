"""What the finders are tried on: whole training problems, each about a second long.

A task is the worker's own `Task`, so a job file makes one as well as an entry here does. A seed
says everything random: the weights, the order of the batches, dropout.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from lrtuner.job import JobSpec
from lrtuner.sources.datasets import PythonStdlibText, TextArgs
from lrtuner.sources.models import Gpt, GptArgs
from worker.data import Data, Split
from worker.device import prepare
from worker.sources import gpt, python_stdlib_text
from worker.task import Task, make_task

CPU = torch.device("cpu")

_CHECK_EVERY = 50


@cache
def load(reference: str) -> Task:
    """The task of that name, or of the job file at that path, for one CPU thread."""
    prepare(CPU)
    if reference in TASKS:
        return TASKS[reference]()
    return make_task(JobSpec.model_validate_json(Path(reference).read_text()), CPU)


def digest(task: Task) -> str:
    """What a result depends on: data, initial weights and outputs, optimizer, lengths, torch."""
    model = task.model(0).eval()
    with torch.no_grad():
        outputs = model(task.data.train.inputs[:8])
    hashed = hashlib.sha256(torch.__version__.encode())
    for tensor in [*model.state_dict().values(), outputs]:
        hashed.update(tensor.contiguous().numpy().tobytes())
    hashed.update(task.data.digest().encode())
    clip = task.spec.training.grad_clip_norm
    hashed.update(f"{task.spec.optimizer!r} {task.batch_size} {task.total_steps} {clip}".encode())
    return hashed.hexdigest()[:16]


def trained(task: Task, rates: list[float], seed: int) -> nn.Module | None:
    """A fresh model after one update per rate; None when the loss has left the finite numbers."""
    model = task.model(seed)
    optimizer = task.optimizer(model, rates[0])
    loss = torch.zeros(())
    for step, batch in enumerate(task.batches(seed, len(rates))):
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        optimizer.zero_grad()
        loss = task.loss(model, batch)
        loss.backward()
        optimizer.step()
        if step % _CHECK_EVERY == 0 and not loss.isfinite():
            return None
    return model if loss.isfinite() else None


# Data ---------------------------------------------------------------------------------------------

_CONTEXT = 32


@cache
def _digits(low: int = 0, high: int = 9) -> Data:
    """Images of the digits `low`..`high`, 1 x 8 x 8 in 0..1; two thirds train, a fifth tests."""
    images, targets = datasets.load_digits(return_X_y=True)
    chosen = (targets >= low) & (targets <= high)
    inputs = torch.tensor(images[chosen] / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
    targets = targets[chosen] - low
    rest, test = train_test_split(
        np.arange(len(targets)), test_size=0.2, stratify=targets, random_state=0
    )
    train, validation = train_test_split(
        rest, test_size=1 / 6, stratify=targets[rest], random_state=0
    )
    splits = (
        Split(inputs[part], torch.from_numpy(targets[part])) for part in (train, validation, test)
    )
    return Data(high - low + 1, *splits)


@cache
def _few_high_digits() -> Data:
    """The digits 5 to 9, with 80 images to train on."""
    data = _digits(5, 9)
    return replace(data, train=Split(data.train.inputs[:80], data.train.targets[:80]))


@cache
def _code() -> Data:
    """Characters of Python's standard library."""
    args = TextArgs(max_chars=60_000, context_length=_CONTEXT)
    return python_stdlib_text.build(PythonStdlibText(args=args), seed=0)


@cache
def _prose() -> Data:
    """Characters of the descriptions that come with scikit-learn's data sets."""
    files = sorted(Path(datasets.__file__).parent.glob("descr/*.rst"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    alphabet = python_stdlib_text.ALPHABET
    unknown = python_stdlib_text.UNKNOWN
    codes = {character: code for code, character in enumerate(alphabet)}
    tokens = torch.tensor([codes.get(character, unknown) for character in text])
    count = (len(tokens) - 1) // _CONTEXT
    inputs, targets = (tokens[i : i + count * _CONTEXT].view(count, _CONTEXT) for i in (0, 1))
    fifth = count // 5
    sizes = (count - 2 * fifth, fifth, fifth)
    return Data(unknown + 1, *map(Split, inputs.split(sizes), targets.split(sizes)))


# Models -------------------------------------------------------------------------------------------


def _mlp(*widths: int, activation: type[nn.Module] = nn.ReLU, gain: float = 0.0) -> nn.Module:
    """Hidden layers of `widths`; with a `gain`, Xavier's weights instead of torch's own."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, width in zip((64, *widths), widths, strict=False):
        linear = nn.Linear(before, width)
        if gain:
            nn.init.xavier_normal_(linear.weight, gain=gain)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def _convnet(classes: int = 10) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch norm and max-pooling, and a linear layer."""
    layers: list[nn.Module] = []
    for before, channels in ((1, 16), (16, 32)):
        layers += [
            nn.Conv2d(before, channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, classes))


class _Recurrent(nn.Module):
    """Reads an image row by row and classifies from its last state."""

    def __init__(self, cell: type[nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        self.cell = cell(8, 48, batch_first=True)
        self.readout = nn.Linear(48, 10)

    def forward(self, images: Tensor) -> Tensor:
        states, _ = self.cell(images.flatten(1, -2))
        logits: Tensor = self.readout(states[:, -1])
        return logits


def _transformer() -> nn.Module:
    return gpt.build(Gpt(args=GptArgs(width=32, num_layers=1)), _code())


def _pretrained_convnet(weights: dict[str, Tensor]) -> nn.Module:
    """Trained on the digits 0 to 4, with a new last layer for the other five."""
    model = _convnet(classes=5)
    model.load_state_dict(weights)
    model[-1] = nn.Linear(128, 5)
    return model


def _pretrained_transformer(weights: dict[str, Tensor]) -> nn.Module:
    """Trained on code."""
    model = _transformer()
    model.load_state_dict(weights)
    return model


@cache
def _weights_after_low_digits() -> dict[str, Tensor]:
    build = partial(_convnet, classes=5)
    return _weights(_task(_digits(0, 4), build, ADAMW, batch_size=32, steps=200), lr=3e-3)


@cache
def _weights_after_code() -> dict[str, Tensor]:
    return _weights(_task(_code(), _transformer, ADAMW, batch_size=16, steps=1200), lr=3e-3)


def _weights(task: Task, lr: float) -> dict[str, Tensor]:
    steps = task.total_steps
    model = trained(task, [lr * (1 - step / steps) for step in range(steps)], seed=0)
    assert model is not None
    return model.state_dict()


# Tasks --------------------------------------------------------------------------------------------

MOMENTUM = {"name": "sgd", "args": {"momentum": 0.9}}
PLAIN = {"name": "sgd"}
ADAMW = {"name": "adamw"}
RMSPROP = {"name": "rmsprop"}


def _task(
    data: Data,
    build_model: Callable[[], nn.Module],
    optimizer: dict[str, Any],
    *,
    batch_size: int,
    steps: int,
    grad_clip_norm: float | None = None,
) -> Task:
    training = {"batch_size": batch_size, "steps": steps, "grad_clip_norm": grad_clip_norm}
    named = {"model": {"name": "mlp"}, "dataset": {"name": "digits"}}  # what counts is given beside
    spec = JobSpec.model_validate({**named, "optimizer": optimizer, "training": training})
    return Task(spec=spec, data=data, build_model=build_model, device=CPU, total_steps=steps)


_wide = partial(_mlp, 256, 256)
_deep_tanh = partial(_mlp, *[64] * 6, activation=nn.Tanh)

REFERENCE: dict[str, Callable[[], Task]] = {
    "mlp-sgd": lambda: _task(_digits(), _wide, MOMENTUM, batch_size=64, steps=360),
    "cnn-sgd": lambda: _task(_digits(), _convnet, MOMENTUM, batch_size=64, steps=360),
    "deep-adamw": lambda: _task(_digits(), _deep_tanh, ADAMW, batch_size=64, steps=360),
    "mlp-adamw": lambda: _task(_digits(), _wide, ADAMW, batch_size=64, steps=360),
}
"""Four that fixed rates do well on."""

HARDER: dict[str, Callable[[], Task]] = {
    "finetune-cnn": lambda: _task(
        _few_high_digits(),
        partial(_pretrained_convnet, _weights_after_low_digits()),
        ADAMW,
        batch_size=16,
        steps=100,
    ),
    "finetune-text": lambda: _task(
        _prose(),
        partial(_pretrained_transformer, _weights_after_code()),
        ADAMW,
        batch_size=8,
        steps=150,
    ),
    "small-batch": lambda: _task(_digits(), partial(_mlp, 64), MOMENTUM, batch_size=8, steps=600),
    "narrow": lambda: _task(
        _digits(),
        partial(_mlp, *[64] * 8, activation=nn.Tanh, gain=5 / 3),
        MOMENTUM,
        batch_size=32,
        steps=360,
    ),
    "vanishing": lambda: _task(_digits(), _deep_tanh, MOMENTUM, batch_size=32, steps=500),
    "cnn-plain": lambda: _task(_digits(), _convnet, PLAIN, batch_size=16, steps=300),
    "transformer": lambda: _task(_code(), _transformer, ADAMW, batch_size=8, steps=250),
    "gru": lambda: _task(_digits(), partial(_Recurrent, nn.GRU), ADAMW, batch_size=32, steps=240),
    "lstm-clipped": lambda: _task(
        _digits(),
        partial(_Recurrent, nn.LSTM),
        MOMENTUM,
        batch_size=32,
        steps=300,
        grad_clip_norm=1.0,
    ),
    "mlp-rmsprop": lambda: _task(
        _digits(), partial(_mlp, 64, 64), RMSPROP, batch_size=32, steps=300
    ),
}
"""Fine-tuning, small batches, narrow and hard to find ranges, attention, recurrence."""

TASKS = REFERENCE | HARDER
