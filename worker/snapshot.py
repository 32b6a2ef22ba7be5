"""Everything a sweep touches, saved, put back on every way out, and verified by hash."""

import copy
import hashlib
import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn


class Stateful(Protocol):
    """What can save and load its state: a grad scaler, a loader that knows its position."""

    def state_dict(self) -> dict[str, Any]:
        """The state as plain data and tensors."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Be as when `state_dict` was taken."""


@dataclass(frozen=True)
class Subject:
    """What must be afterwards as it was before."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    others: tuple[Stateful, ...] = ()

    def state(self) -> dict[str, Any]:
        """References to the live state; copy it to keep it."""
        return {
            "model": self.model.state_dict(),
            "buffers": dict(self.model.named_buffers()),  # those that are not saved, too
            "modes": {name: module.training for name, module in self.model.named_modules()},
            "trains": {name: p.requires_grad for name, p in self.model.named_parameters()},
            "gradients": {name: p.grad for name, p in self.model.named_parameters()},
            "optimizer": self.optimizer.state_dict(),
            "others": [other.state_dict() for other in self.others],
            "generators": generators(),
        }

    def put_back(self, saved: dict[str, Any]) -> None:
        """Be as when a copy of `state` was taken."""
        self.model.load_state_dict(saved["model"])
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(saved["buffers"][name])
        for name, module in self.model.named_modules():
            module.training = saved["modes"][name]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(saved["trains"][name])
            parameter.grad = saved["gradients"][name]
        self.optimizer.load_state_dict(saved["optimizer"])
        for other, state in zip(self.others, saved["others"], strict=True):
            other.load_state_dict(state)
        set_generators(saved["generators"])


@contextmanager
def restored(subject: Subject) -> Iterator[None]:
    """Put everything back at the end, an exception included, and check that it is.

    Parameters, gradients, buffers (BatchNorm's statistics among them), training modes, optimizer
    state, the other states, and the generators of python, numpy and torch on every device.

    Raises:
        RuntimeError: the state afterwards is not the state before: something keeps a state of its
            own that it does not save.
    """
    saved = copy.deepcopy(subject.state())
    before = fingerprint(saved)
    try:
        yield
    finally:
        subject.put_back(saved)
        if fingerprint(subject.state()) != before:
            raise RuntimeError("the state before could not be restored")


def fingerprint(state: Any) -> str:
    """A SHA-256 over plain data and the bytes, shapes and types of tensors in it."""
    hashed = hashlib.sha256()
    _feed(hashed, state)
    return hashed.hexdigest()


def _feed(hashed: Any, value: Any) -> None:
    if isinstance(value, dict):
        for key in value:
            hashed.update(repr(key).encode())
            _feed(hashed, value[key])
    elif isinstance(value, list | tuple):
        hashed.update(str(len(value)).encode())
        for item in value:
            _feed(hashed, item)
    elif isinstance(value, Tensor):
        flat = value.detach().contiguous().cpu()
        hashed.update(f"{flat.dtype}{tuple(flat.shape)}".encode())
        hashed.update(flat.view(-1).view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    elif isinstance(value, np.ndarray):
        hashed.update(value.tobytes())
    else:
        hashed.update(pickle.dumps(value))


def generators() -> dict[str, Any]:
    """The states of the global generators: python's, numpy's, torch's on every device."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_generators(saved: dict[str, Any]) -> None:
    """Let them go on from states that `generators` gave."""
    random.setstate(saved["python"])
    np.random.set_state(saved["numpy"])
    torch.set_rng_state(saved["torch"])
    if saved["cuda"]:
        torch.cuda.set_rng_state_all(saved["cuda"])
