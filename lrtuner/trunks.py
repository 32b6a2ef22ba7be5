"""Shared trunks: what several schedules have in common at their start is trained only once.

Two runs from the same seed are the same run for as long as their learning rates are. Schedules that
differ only in where their cooldown begins share all that comes before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bits = NDArray[np.int64]


@dataclass(frozen=True)
class Stretch:
    """Updates that several runs have in common, and how these go on: a node of a prefix tree.

    Updates `start` + 1 to `stop` are made once for all of `runs`, which are positions in the
    sequences given. After `stop` each run goes on in one of `branches`, or ends where it is in
    none.
    """

    start: int
    stop: int
    runs: tuple[int, ...]
    branches: tuple["Stretch", ...] = ()

    @property
    def updates(self) -> int:
        """Updates trained in this stretch and all that follow it."""
        return self.stop - self.start + sum(branch.updates for branch in self.branches)

    @property
    def saved(self) -> int:
        """Updates that would be trained in addition if each run were trained by itself."""
        here = (len(self.runs) - 1) * (self.stop - self.start)
        return here + sum(branch.saved for branch in self.branches)


def prefix_tree(sequences: Sequence[ArrayLike]) -> Stretch:
    """The tree of what one or more sequences of rates have in common at their start.

    Rates are the same only where they are bit-equal. The first stretch belongs to every run and is
    empty (`start` = `stop` = 0) where the first rates differ already. Branches are in the order of
    their first sequences, and so are the runs of a stretch. The sequences may be of different
    lengths: one that is the start of another ends where a stretch of the other does.
    """
    bits = [np.ascontiguousarray(rates, dtype=np.float64).view(np.int64) for rates in sequences]
    return _stretch(bits, range(len(bits)), 0)


def _stretch(bits: Sequence[Bits], runs: Sequence[int], start: int) -> Stretch:
    stop = min(_parting(bits[runs[0]], bits[run], start) for run in runs)
    following: dict[int, list[int]] = {}
    for run in runs:
        if len(bits[run]) > stop:
            following.setdefault(int(bits[run][stop]), []).append(run)
    branches = tuple(_stretch(bits, group, stop) for group in following.values())
    return Stretch(start, stop, tuple(runs), branches)


def _parting(one: Bits, other: Bits, start: int) -> int:
    """The first position from `start` on at which two sequences differ or one has ended."""
    length = min(len(one), len(other))
    differ = one[start:length] != other[start:length]
    return start + int(differ.argmax()) if differ.any() else length
