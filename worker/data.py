"""Data as tensors: three splits, moved to the device once."""

import hashlib
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Examples and their targets, first dimension the example; both lie on one device."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> "Split":
        """The same split on `device`."""
        return Split(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Data:
    """Three disjoint splits, and what a model is to give for an example.

    `num_outputs` counts classes, labels, values, or the characters of a vocabulary. Where inputs
    are tokens, `vocabulary` counts what they may be, if that is not the same, and `padding` is the
    token that fills up short examples. `notes` are what one should know of the data.
    """

    num_outputs: int
    train: Split
    validation: Split
    test: Split
    vocabulary: int | None = field(default=None, kw_only=True)
    padding: int | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    def to(self, device: torch.device) -> "Data":
        """The same data on `device`."""
        names = ("train", "validation", "test")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def digest(self) -> str:
        """A digest of every example, target and split boundary."""
        hashed = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for tensor in (split.inputs, split.targets):
                hashed.update(str(tuple(tensor.shape)).encode())
                hashed.update(tensor.contiguous().cpu().numpy().tobytes())
        return "sha256:" + hashed.hexdigest()
