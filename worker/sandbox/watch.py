"""What a tree of processes uses, as its parent sees it in /proc."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_GONE_SECONDS = 10.0
_KIBIBYTE = 1024
_FILES = 100_000


def tree(root: int) -> set[int]:
    """The process and all its descendants, as far as they can be seen."""
    found, to_visit = set[int](), [root]
    while to_visit:
        pid = to_visit.pop()
        if pid in found:
            continue
        found.add(pid)
        for task in _listed(f"/proc/{pid}/task"):
            children = _read(f"/proc/{pid}/task/{task}/children")
            to_visit += map(int, children.split())
    return found


def session(leader: int) -> set[int]:
    """The processes of the session, wherever they stand in the tree."""
    return {pid for pid in map(int, filter(str.isdigit, _listed("/proc"))) if _sid(pid) == leader}


def tasks(pids: set[int]) -> int:
    """Threads and processes; those that have ended do not count."""
    return sum(len(_listed(f"/proc/{pid}/task")) for pid in pids)


def memory(pids: set[int], enough: int) -> int:
    """Bytes of memory that no file backs.

    Processes that share some have it counted for each of them, unless that gives more than
    `enough`; then, more slowly, it is divided among them.
    """
    found = sum(_memory(pid) for pid in pids)
    return found if found <= enough else sum(_fair_memory(pid) for pid in pids)


def files(folder: Path) -> int:
    """Bytes that files in a folder take; links are not followed. Very many are too much."""
    total = 0
    for count, (_, _, names, fd) in enumerate(os.fwalk(folder, onerror=lambda _: None)):
        if count > _FILES or len(names) > _FILES:
            return 1 << 62
        total += sum(_size(name, fd) for name in names)
    return total


def end(leader: int) -> None:
    """Kill the session of `leader`, which is its own group too, until nothing of it is left."""
    _kill(leader, group=True)
    deadline = time.monotonic() + _GONE_SECONDS
    while left := session(leader):
        for pid in left:
            _kill(pid)
        if time.monotonic() > deadline:
            return
        time.sleep(0.002)


def _kill(pid: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)


def _sid(pid: int) -> int | None:
    """The session; None for a process that has ended and waits to be reaped."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[3])


def _memory(pid: int) -> int:
    return sum(_kibibytes(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:", "VmSwap:"))) * _KIBIBYTE


def _fair_memory(pid: int) -> int:
    names = ("Pss_Anon:", "Pss_Shmem:", "SwapPss:")
    return sum(_kibibytes(f"/proc/{pid}/smaps_rollup", names)) * _KIBIBYTE or _memory(pid)


def _kibibytes(path: str, names: tuple[str, ...]) -> Iterator[int]:
    for line in _read(path).splitlines():
        if line.startswith(names):
            yield int(line.split()[1])


def _size(name: str, folder: int) -> int:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
