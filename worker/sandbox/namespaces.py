"""Namespaces: a process tree, a network without anything in it, and a view of few files.

Standard library only. An ordinary user can have them where user namespaces are allowed, root always
where it may administrate the system (in most containers it may not).
"""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from worker.sandbox import kernel

SCRATCH = "/tmp"  # noqa: S108 - in a view of its own
"""Where the scratch folder lies in the view; everything else in it is read-only."""

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the same

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_MOST_FILES = 100_000
_KINDS = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC


def enter(uid: int) -> bool:
    """New namespaces for this process, and for the pids of its children; whether also of users.

    In the user namespace only our own user and `uid` exist.

    Raises:
        OSError: neither as root nor as a user; the message says why.
    """
    mapped = _child_that_maps(os.getpid(), sorted({os.geteuid(), uid}))
    try:
        kernel.unshare(_KINDS | kernel.CLONE_NEWUSER)
    except OSError as error:
        mapped(False)
        try:
            kernel.unshare(_KINDS)
        except OSError:
            raise error from None
        return False
    mapped(True)
    return True


def _child_that_maps(pid: int, uids: list[int]) -> Callable[[bool], None]:
    """A process that stays outside, and may therefore say who is who inside."""
    ours, told = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.read(ours, 1) == b"+":
                _map(pid, uids)
            status = 0
        finally:
            os._exit(status)
    os.close(ours)

    def go_on(wanted: bool) -> None:
        os.write(told, b"+" if wanted else b"-")
        os.close(told)
        if os.waitpid(child, 0)[1] != 0:
            raise OSError("the ids of the user namespace could not be mapped")

    return go_on


def _map(pid: int, uids: list[int]) -> None:
    if os.geteuid() != 0:
        Path(f"/proc/{pid}/setgroups").write_text("deny")
    gids = sorted({os.getegid(), uids[-1]}) if os.geteuid() == 0 else [os.getegid()]
    for name, ids in (("uid_map", uids), ("gid_map", gids)):
        Path(f"/proc/{pid}/{name}").write_text("".join(f"{i} {i} 1\n" for i in ids))


def only_see(
    folder: str,
    readable: Iterable[str],
    devices: Iterable[str],
    hidden: Iterable[str],
    *,
    scratch_bytes: int,
) -> None:
    """From here on only `readable` exists, read-only, with a scratch folder and a few devices.

    Args:
        folder: an empty folder to build in.
        readable: files and folders, absolute; those that do not exist are left out.
        devices: device files.
        hidden: what is empty even where it lies below something readable.
        scratch_bytes: of the scratch folder, which is kept in memory.

    Raises:
        OSError: the kernel refused.
    """
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    quiet = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", folder, "tmpfs", quiet, "size=1m,mode=0755")
    _make_scratch(folder + SCRATCH, scratch_bytes)
    for path in readable:
        _show(folder, path)
    for path in devices:
        _bind(folder, path)
    _make_link(folder + "/dev/fd", "/proc/self/fd")
    _mount_scratch_memory(folder)
    _mount_proc(folder + "/proc")
    for path in hidden:
        if os.path.lexists(folder + path):
            kernel.mount("tmpfs", folder + path, "tmpfs", quiet, "size=4k,mode=0755")
            kernel.make_read_only(folder + path)
    kernel.make_read_only(folder, all_below=False)
    kernel.pivot_root(folder)


def _make_scratch(target: str, size: int) -> None:
    os.makedirs(target)
    options = f"size={size},nr_inodes={_MOST_FILES},mode=0700"
    kernel.mount("tmpfs", target, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
    os.mkdir(target + "/shm")


def _mount_scratch_memory(folder: str) -> None:
    """Shared memory counts as scratch."""
    os.makedirs(folder + SHARED_MEMORY, exist_ok=True)
    kernel.mount(f"{folder}{SCRATCH}/shm", folder + SHARED_MEMORY, None, kernel.MS_BIND)


def _mount_proc(target: str) -> None:
    os.makedirs(target)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    try:
        kernel.mount("proc", target, "proc", flags)
    except OSError:  # as in containers that hide parts of theirs: then there is none
        return
    kernel.make_read_only(target)


def _show(folder: str, path: str) -> None:
    """The path itself, read-only; where it is reached through links, these too."""
    real = os.path.realpath(path)
    if not os.path.exists(real):
        return
    if real != path:
        _make_link(folder + path, real)
    if not _seen(folder, real):
        _bind(folder, real)
        kernel.make_read_only(folder + real)


def _seen(folder: str, path: str) -> bool:
    """Whether it is there already, below something else that is shown."""
    try:
        return os.path.samefile(folder + path, path)
    except OSError:
        return False


def _make_link(link: str, target: str) -> None:
    if os.path.lexists(link):
        return
    os.makedirs(os.path.dirname(link), exist_ok=True)
    os.symlink(target, link)


def _bind(folder: str, path: str) -> None:
    if not os.path.exists(path):
        return
    target = folder + path
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o444))
    kernel.mount(path, target, None, kernel.MS_BIND | kernel.MS_REC)


def fork_and_wait() -> None:
    """Fork; the child returns, this process ends as the child does, and takes it along.

    It ends with the child's exit status, or 128 plus the signal. Called twice after `enter`: one
    waits outside, and the first of the new pids, with which the kernel ends all others, inside.
    """
    alive, ours = os.pipe()
    child = os.fork()
    if child != 0:
        _end_as(child, ours)
    os.close(ours)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.set_blocking(alive, False)
    try:
        if os.read(alive, 1) == b"":  # it died before the line above
            os._exit(1)
    except BlockingIOError:
        os.close(alive)


def _end_as(child: int, keep: int) -> None:
    """Wait for the child, with nothing open that others wait for; reap whatever comes."""
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
