"""The global generators of Python, NumPy and torch, which a user's code may draw from."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lrtuner.job import derived_seed
from worker.snapshot import generators, set_generators


def seed_all(seed: int) -> None:
    """Let all of them begin anew."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def repeatable(*parts: int | str) -> Iterator[None]:
    """Within it they begin with a seed that follows from `parts`; then they go on as before."""
    before = generators()
    seed_all(derived_seed(*parts))
    try:
        yield
    finally:
        set_generators(before)
