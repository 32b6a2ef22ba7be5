"""Data for a process that has no files: read outside, laid into one file without a name, mapped.

A sandbox must not see the folders that files of examples lie in, nor has its user the right to read
them. It is given an open file of the tensors themselves, which the system keeps in memory once, as
far as there is room for it.
"""

import math
import mmap
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch

from lrtuner.datasets import Inspection
from lrtuner.datasets.room import chunks, reserved
from lrtuner.errors import InvalidDatasetError, JobFailedError
from lrtuner.job import JobSpec
from lrtuner.sources import OwnData
from lrtuner.strict import Strict
from worker.data import Data, Split
from worker.settings import Settings
from worker.task import named_data, settled_by

_ALIGNED = 64
_SPLITS = ("train", "validation", "test")


class Piece(Strict):
    """A tensor in the file."""

    dtype: str
    shape: list[int]
    offset: int


class Handover(Strict):
    """Data in an open file.

    Attributes:
        file: its descriptor.
        pieces: where inputs and targets of each split lie in it.
        found: the inspection, if there is one.
        facts: whatever else is known of the data, as plain values.
    """

    file: int
    pieces: list[Piece]
    found: dict[str, Any] | None
    facts: dict[str, Any]


@contextmanager
def read_outside(spec: JobSpec) -> Iterator[Handover | None]:
    """The data of a job on files, for a sandbox; None where it makes its data itself.

    The file is there as long as the block.

    Raises:
        JobFailedError: the data cannot be read, or the job does not fit it.
    """
    if isinstance(spec.dataset, OwnData) or spec.dataset.source == "builtin":
        yield None
        return
    data = named_data(spec)
    settled_by(spec, data)
    handed = _written(data)
    del data
    try:
        yield handed
    finally:
        os.close(handed.file)


def mapped(handed: Handover) -> Data:
    """The data, in a process that was given the file.

    What is preloaded may be written to, and stays as it was for others; what is streamed may not.
    """
    found = None if handed.found is None else Inspection.model_validate(handed.found)
    streamed = found is not None and found.streamed
    access = mmap.ACCESS_READ if streamed else mmap.ACCESS_COPY
    buffer = mmap.mmap(handed.file, 0, access=access)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors that cannot be written to
        tensors = [
            torch.frombuffer(
                buffer,
                dtype=getattr(torch, piece.dtype),
                count=math.prod(piece.shape),
                offset=piece.offset,
            ).reshape(piece.shape)
            for piece in handed.pieces
        ]
    known: dict[str, Any] = {name: Split(*tensors[2 * i :][:2]) for i, name in enumerate(_SPLITS)}
    known |= {name: tuple(v) if isinstance(v, list) else v for name, v in handed.facts.items()}
    return Data(**known, found=found)


def _written(data: Data) -> Handover:
    splits = [getattr(data, name) for name in _SPLITS]
    tensors = [tensor for split in splits for tensor in (split.inputs, split.targets)]
    pieces, at = list[Piece](), 0
    for tensor in tensors:
        dtype = str(tensor.dtype).removeprefix("torch.")
        pieces.append(Piece(dtype=dtype, shape=list(tensor.shape), offset=at))
        at += math.ceil(tensor.numel() * tensor.element_size() / _ALIGNED) * _ALIGNED
    scratch = Settings().dataset_limits.scratch
    assert scratch is not None, "the worker's settings name one"  # noqa: S101
    try:
        with reserved(scratch, at) as file, mmap.mmap(file.fileno(), at) as buffer:
            for tensor, piece in zip(tensors, pieces, strict=True):
                _copy(tensor, buffer, piece.offset)
            descriptor = _readable(file.fileno())
    except InvalidDatasetError as error:
        raise JobFailedError(f"dataset: {error}") from None
    found = None if data.found is None else data.found.model_dump(mode="json")
    apart = (*_SPLITS, "found")
    facts = {f.name: getattr(data, f.name) for f in fields(data) if f.name not in apart}
    return Handover(file=descriptor, pieces=pieces, found=found, facts=facts)


def _copy(tensor: torch.Tensor, buffer: mmap.mmap, at: int) -> None:
    values = tensor.numpy()
    for rows in chunks(values):
        data = values[rows].tobytes()
        buffer[at : at + len(data)] = data
        at += len(data)


def _readable(descriptor: int) -> int:
    """The same open file, to read from alone where the system has a way to ask for that."""
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    except OSError:
        return os.dup(descriptor)
