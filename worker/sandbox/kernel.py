"""System calls of Linux that Python has no names for. Standard library only.

Every function raises OSError where the kernel refuses; elsewhere than on Linux all of them do.
"""

import ctypes
import os
import platform
import sys

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2

_AT_FDCWD, _AT_RECURSIVE, _MNT_DETACH = -100, 0x8000, 2
_MOUNT_SETATTR = 442  # system calls from 424 on have one number on all machines
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def prctl(option: int, *arguments: int) -> None:
    """Say something about this process."""
    padded = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    _called("prctl", option, *padded)


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones."""
    _called("unshare", flags)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount, or bind what is mounted."""
    name = kind.encode() if kind else None
    _called(
        "mount", source.encode(), target.encode(), name, ctypes.c_ulong(flags), options.encode()
    )


def make_read_only(target: str, *, all_below: bool = True) -> None:
    """A mount: read-only, and without set-user-id programs (Linux 5.12)."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    syscall(
        _MOUNT_SETATTR,
        _AT_FDCWD,
        ctypes.c_char_p(target.encode()),
        _AT_RECURSIVE if all_below else 0,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def pivot_root(new: str) -> None:
    """Make `new`, which is a mount, the root; the old one is gone."""
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"the system calls of {platform.machine()} are not known")
    os.chdir(new)
    syscall(number, b".", b".")  # the old root ends up above the new one, and is let go
    _called("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def drop_capabilities() -> None:
    """Give up all capabilities for good; for root too."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # beyond the last one, or not ours to drop: then nothing to gain either
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _called("capset", ctypes.byref(header), ctypes.byref(nothing))


def syscall(number: int, *arguments: object) -> int:
    """Any other system call."""
    return _called("syscall", ctypes.c_long(number), *arguments)


def _called(name: str, *arguments: object) -> int:
    if _libc is None:
        raise OSError(f"{sys.platform} has no {name}")
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
