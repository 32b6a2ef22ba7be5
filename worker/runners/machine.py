"""How many slots a machine has room for."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from lrtuner.errors import JobFailedError
from worker.remote import RemoteTask

SLOT_BYTES = 1 << 30
"""Memory that a slot on the CPU is counted with."""

CONTEXT_BYTES = 1 << 29
"""What a process takes of a GPU beside its tensors, about."""


def slots_for(
    asked: int | None, device: torch.device, workers: int = 1, root: Path = Path("/")
) -> int:
    """How many slots to have.

    Args:
        asked: that number, where the operator gave one.
        device: where they train: on another one than the CPU one slot, unless more are asked for.
        workers: how many workers share the machine.
        root: where the files of the system lie.
    """
    if asked is not None:
        return asked
    if device.type != "cpu":
        return 1
    room = free_memory(root) // SLOT_BYTES
    return max(1, min(cores(root), room) // workers)


def cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: of the machine, its affinity and its cgroups' quota."""
    try:
        own = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        own = os.cpu_count() or 1
    quotas = [_quota(text) for text in _of_groups("cpu.max", root)]
    return max(1, int(min([own, *quotas])))


def free_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that are free for this process."""
    free = [_available(root)]
    for used, most in zip(
        _of_groups("memory.current", root), _of_groups("memory.max", root), strict=False
    ):
        if most != "max":
            free.append(int(most) - int(used))
    return min(free)


def room_on_gpu(asked: int) -> Callable[[RemoteTask], int]:
    """How many of the slots that were asked for a GPU has room for, once one of them has worked."""

    def room(trainer: RemoteTask) -> int:
        try:
            memory = trainer.memory()
        except JobFailedError:  # nothing is known: no more than this one
            return 1
        return min(asked, 1 + memory.free // (memory.peak + CONTEXT_BYTES))

    return room


def _quota(text: str) -> float:
    quota, period = text.split()
    return float("inf") if quota == "max" else int(quota) / int(period)


def _available(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:  # not on Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    [line] = (line for line in lines if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def _of_groups(name: str, root: Path) -> list[str]:
    """What a file of that name says in the cgroup (version 2) of this process and those above."""
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group = top / path.strip("/")
    folders = [f for f in (group, *group.parents) if f.is_relative_to(top)]
    return [(f / name).read_text().strip() for f in folders if (f / name).is_file()]
