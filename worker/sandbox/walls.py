"""Every wall by name, and which of them an operator wants to stand."""

from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator

WALLS = {
    "parent-death": "it may go on where the worker is killed",
    "first-to-go": "where the system runs out of memory, the worker may be ended in its place",
    "pid-namespace": "it sees the other processes of the machine, and what it starts may escape",
    "network-namespace": "only seccomp keeps it from the network",
    "ipc-namespace": "it sees the shared memory of other processes",
    "mount-namespace": "it sees all files; only Landlock and the rights of its user guard them",
    "unprivileged-user": "it runs as root, though without capabilities",
    "no-capabilities": "it has every right that the worker has",
    "no-new-privileges": "set-user-id programs give it rights",
    "rlimits": "memory, open files and the size of files are not limited by the kernel",
    "process-limit": "only the watcher limits processes, twenty times a second",
    "landlock": "only the view guards the files",
    "hidden-folders": "the worker's data can be read",
    "seccomp": "dangerous system calls are not refused",
}
"""Every wall, and what holds no more where it is missing."""

_OR = "|"


def _of_walls(value: str) -> str:
    unknown = [name for names in _wanted(value) for name in names if name not in WALLS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no wall; there are {', '.join(WALLS)}")
    return value


WantedWalls = Annotated[str, AfterValidator(_of_walls)]
"""Names of walls, separated by commas; `a|b` wants one of the two."""


def not_standing(wanted: str, raised: Collection[str]) -> list[str]:
    """What is wanted and not there, each with its alternatives."""
    return [" or ".join(names) for names in _wanted(wanted) if not set(names) & set(raised)]


def _wanted(value: str) -> list[list[str]]:
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    return [[name.strip() for name in entry.split(_OR)] for entry in entries]
