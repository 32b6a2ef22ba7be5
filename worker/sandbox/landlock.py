"""Landlock: what a process may do with files, and whom it may signal. Standard library only.

See https://docs.kernel.org/userspace-api/landlock.html. Needs no privilege; Linux 5.13.
"""

import ctypes
import os
from collections.abc import Iterable

from worker.sandbox.kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights on files that a version knows, by the version that brought the last of them."""

_TCP, _TCP_SINCE = 3, 4
_ABSTRACT_SOCKETS_AND_SIGNALS, _SCOPES_SINCE = 3, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of the kernel's Landlock, from 1 on.

    Raises:
        OSError: the kernel has none, or it is off.
    """
    return syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))


def scopes_signals() -> bool:
    """Whether it can keep a process from signalling others (Linux 6.12)."""
    try:
        return version() >= _SCOPES_SINCE
    except OSError:
        return False


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """From here on, nothing else can be read, executed or written; TCP and other signals neither.

    Paths that do not exist are left out. Needs `PR_SET_NO_NEW_PRIVS`.

    Raises:
        OSError: the kernel refused.
    """
    known = version()
    rights = _RIGHTS[max(v for v in _RIGHTS if v <= known)]
    ruleset = _Ruleset(
        rights,
        _TCP if known >= _TCP_SINCE else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if known >= _SCOPES_SINCE else 0,
    )
    fd = syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(24), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(fd, path, READ & rights)
        for path in writable:
            _allow(fd, path, rights)
        syscall(_RESTRICT_SELF, fd, ctypes.c_uint32(0))
    finally:
        os.close(fd)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        rule = _Beneath(rights, fd)
        syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(fd)
