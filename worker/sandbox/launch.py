"""The process that code of others runs in: it raises the walls around itself, then runs the code.

Standard library only: nothing of this is to be slow, and it is all there before a wall is up. A
wall that the system does not allow is told to the parent, with the reason; the others are raised.
"""

import contextlib
import importlib
import os
import platform
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from worker.sandbox import kernel, landlock, namespaces, seccomp
from worker.sandbox.pipe import Pipe

NOBODY = 65534
"""Whom code runs as where the worker is root."""

_MEBIBYTE = 1024 * 1024
_SPARE_PROCESSES = 16  # the watcher ends what passes the limit; this stops what outruns it
_COUNTS_BY_NAMESPACE = (5, 14)  # since then RLIMIT_NPROC counts a user within its namespace


def main() -> None:
    """Take the order from the pipe, raise the walls, tell which are up, and run what was ordered.

    The order: `entry` (`module:function`, called with the pipe and `payload`), `limits`, `scratch`
    (an empty folder), `readable`, `hidden` (paths), `devices` (device files), `skip` (walls).
    """
    walls = _Walls()
    with contextlib.suppress(OSError):
        _die_with_parent()  # from the beginning; counted once nothing clears it any more
    pipe = Pipe(socket.socket(fileno=int(sys.argv[1])))
    order = pipe.receive()
    walls.skip = set(order["skip"])
    scratch = _raise(walls, order)
    _go_home(scratch)
    pipe.send({"walls": walls.raised, "missing": walls.missing, "scratch": scratch})
    module, _, function = order["entry"].partition(":")
    getattr(importlib.import_module(module), function)(pipe, order["payload"])


class _Walls:
    """Which are up, and why the others are not."""

    def __init__(self) -> None:
        self.raised: list[str] = []
        self.missing: dict[str, str] = {}
        self.skip: set[str] = set()

    def up(self, name: str, build: Callable[[], object]) -> bool:
        """Raise it if it can be raised."""
        if name in self.skip:
            self.missing[name] = "not wanted"
            return False
        try:
            build()
        except (OSError, ValueError) as error:
            self.missing[name] = str(error) or type(error).__name__
            return False
        self.raised.append(name)
        return True


def _raise(walls: _Walls, order: dict[str, Any]) -> str:
    """All walls, the outermost first; the scratch folder as it is reached afterwards."""
    limits, devices = order["limits"], [*namespaces.DEVICES, *order["devices"]]
    root = os.geteuid() == 0
    uid = NOBODY if root else os.geteuid()
    walls.up("first-to-go", _be_first_to_go)
    own_users = _enter_namespaces(walls, uid)
    inside = "pid-namespace" in walls.raised
    scratch, readable = order["scratch"], order["readable"]
    if inside:
        namespaces.fork_and_wait()
        if walls.up("mount-namespace", _view(order, devices)):
            scratch, readable = namespaces.SCRATCH, ["/"]
        namespaces.fork_and_wait()
    else:
        walls.missing.setdefault("mount-namespace", "comes with the pid namespace")
    seen = "mount-namespace" in walls.raised
    if root:
        walls.up("unprivileged-user", lambda: _become(uid, scratch, [] if seen else readable))
    walls.up("parent-death", _die_with_parent)
    walls.up("no-capabilities", kernel.drop_capabilities)
    walls.up("no-new-privileges", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
    walls.up("rlimits", lambda: _limit(limits))
    walls.up("process-limit", lambda: _limit_processes(limits["processes"], own_users))
    readable = [*readable, *_OWN_PROC]
    writable = [scratch, *devices, *([namespaces.SHARED_MEMORY] if seen else [])]
    walls.up("landlock", lambda: landlock.restrict(readable, writable))
    signals = inside or ("landlock" in walls.raised and landlock.scopes_signals())
    walls.up("seccomp", lambda: seccomp.restrict(view=seen, signals=signals))
    return str(scratch)


_OWN_PROC = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems")


def _die_with_parent() -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _be_first_to_go() -> None:
    """Where the system runs out of memory, not the worker is to die."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _enter_namespaces(walls: _Walls, uid: int) -> bool:
    """Whether there are users of our own."""
    names = ("pid-namespace", "network-namespace", "ipc-namespace")
    own: list[bool] = []
    if not walls.up("pid-namespace", lambda: own.append(namespaces.enter(uid))):
        for name in names[1:]:
            walls.missing[name] = walls.missing["pid-namespace"]
        return False
    walls.raised += names[1:]
    return own[0]


def _view(order: dict[str, Any], devices: list[str]) -> Callable[[], None]:
    return lambda: namespaces.only_see(
        order["scratch"],
        order["readable"],
        devices,
        order["hidden"],
        scratch_bytes=order["limits"]["scratch_mb"] * _MEBIBYTE,
    )


def _become(uid: int, scratch: str, needed: list[str]) -> None:
    for path in needed:
        _check_open_to_all(path)
    inside = [entry.path for entry in os.scandir(scratch)]
    for path in (scratch, *(path for path in inside if not os.path.ismount(path))):
        os.chown(path, uid, uid)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # or it could not look at itself in /proc


def _check_open_to_all(path: str) -> None:
    """An interpreter in the home folder of root cannot be read by anybody else."""
    while path != "/":
        if os.path.exists(path) and not os.stat(path).st_mode & 0o005:
            raise OSError(f"{path} is closed to other users, and what runs needs it")
        path = os.path.dirname(path)


def _limit(limits: dict[str, Any]) -> None:
    scratch, memory = limits["scratch_mb"] * _MEBIBYTE, limits["memory_mb"] * _MEBIBYTE
    for which, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, scratch),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        # not RLIMIT_AS: a GPU's driver reserves more addresses than there is memory
        (resource.RLIMIT_DATA, memory),
    ):
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def _limit_processes(most: int, own_users: bool) -> None:
    """RLIMIT_NPROC, which counts all that a user has, or only what it has in its namespace."""
    if os.geteuid() == 0:
        raise OSError("it does not hold for root")
    if not own_users or _kernel_version() < _COUNTS_BY_NAMESPACE:
        raise OSError("it would count what this user runs elsewhere")
    most += _SPARE_PROCESSES
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def _kernel_version() -> tuple[int, int]:
    major, minor = platform.release().split(".")[:2]
    return int(major), int(minor)


def _go_home(scratch: str) -> None:
    os.chdir(scratch)
    os.environ |= {"HOME": scratch, "TMPDIR": scratch}
