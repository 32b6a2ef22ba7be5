"""Data as tensors: three splits, moved to the device once, or batch by batch."""

import hashlib
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lrtuner.datasets import Inspection
from lrtuner.datasets.room import chunks


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
    token that fills up short examples. `found` is what the file that it comes from was seen to
    hold, and `notes` are what one should know of the data.
    """

    num_outputs: int
    train: Split
    validation: Split
    test: Split
    vocabulary: int | None = field(default=None, kw_only=True)
    padding: int | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    found: Inspection | None = field(default=None, kw_only=True)

    @property
    def streamed(self) -> bool:
        """Whether it is too large for memory, and paged in from disk as it is needed."""
        return self.found is not None and self.found.streamed

    @property
    def num_bytes(self) -> int:
        """What all tensors take."""
        return sum(
            tensor.numel() * tensor.element_size()
            for split in (self.train, self.validation, self.test)
            for tensor in (split.inputs, split.targets)
        )

    def to(self, device: torch.device) -> "Data":
        """The same data on `device`; where it is streamed, it stays where it is."""
        if self.streamed:
            return self
        names = ("train", "validation", "test")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def digest(self) -> str:
        """A digest of every example, target and split boundary."""
        hashed = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for tensor in (split.inputs, split.targets):
                hashed.update(str(tuple(tensor.shape)).encode())
                values = tensor.contiguous().cpu().numpy()
                for rows in chunks(values):
                    hashed.update(values[rows].tobytes())
        return "sha256:" + hashed.hexdigest()
