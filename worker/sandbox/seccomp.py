"""Seccomp: which system calls are refused. Standard library only.

A filter in classic BPF (https://docs.kernel.org/userspace-api/seccomp_filter.html). It denies what
training never needs and attacks do; everything else is left to the other walls. Needs no privilege.
"""

import ctypes
import errno
import os
import platform
import struct

from worker.sandbox.kernel import PR_SET_SECCOMP, prctl

_MODE_FILTER = 2
_LOAD, _EQUAL, _GREATER_EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""The audit number of a machine, and the column of its system calls below."""

_X32 = 0x40000000

# x86_64, aarch64
_DENIED = {
    "accept": (43, 202),
    "accept4": (288, 242),
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),  # its requests would pass by this filter
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),  # memory that nobody counts
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "setpgid": (109, 154),  # leaving the group, which is what is killed
    "setsid": (112, 157),
    "shmget": (29, 194),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_ATTRIBUTES: dict[str, tuple[int, int | None]] = {
    "chmod": (90, None),
    "chown": (92, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "fremovexattr": (199, 16),
    "fsetxattr": (190, 7),
    "futimesat": (261, None),
    "lchown": (94, None),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "truncate": (76, 45),  # Landlock has it from version 3 on
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
}
"""What Landlock lets through: it asks for no right to change the attributes of a file."""

_SOCKET, _CLONE, _CLONE3, _PRLIMIT = (41, 198), (56, 220), (435, 435), (302, 261)
_SIGNALS = {
    "kill": (62, 129),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tgkill": (234, 131),
    "tkill": (200, 130),
}
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* that clone takes
_AF_UNIX = 1
_SOCKETPAIR = (53, 199)
_NOT_CONNECTED = 2  # set in SOCK_DGRAM and SOCK_RAW: each end of such a pair can write to anybody


def restrict(*, view: bool, signals: bool) -> None:
    """Refuse these system calls with EPERM from here on, in this process and all it starts.

    Args:
        view: whether there is a view in which only its own files can be changed. Otherwise sockets
            are refused altogether, and changes to the attributes of files; with it, there are
            sockets between its own processes.
        signals: whether other processes may be signalled.

    Raises:
        OSError: no filter is known for this machine, or the kernel refused.
    """
    if platform.machine() not in _MACHINES:
        raise OSError(f"no filter is known for {platform.machine()}")
    program = _program(view=view, signals=signals)
    code = ctypes.create_string_buffer(program, len(program))
    count = len(program) // 8
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", count, ctypes.addressof(code)))
    prctl(PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header))


def _program(*, view: bool, signals: bool) -> bytes:
    arch, column = _MACHINES[platform.machine()]
    steps = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, arch, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if column == 0:  # the third way into an x86 kernel
        steps += [_step(_GREATER_EQUAL, _X32, 0, 1), _step(_RETURN, _KILL)]
    for numbers in _DENIED.values():
        steps += _refuse(numbers[column])
    steps += _refuse(_CLONE3[column], errno.ENOSYS)  # its flags lie in memory; clone is tried next
    steps += _refuse_flags(_CLONE[column], _NEW_NAMESPACES)
    steps += _refuse_other(_PRLIMIT[column], 0)
    if view:
        steps += _refuse_other(_SOCKET[column], _AF_UNIX)
    else:
        steps += _refuse(_SOCKET[column])
        steps += _refuse_flags(_SOCKETPAIR[column], _NOT_CONNECTED, argument=1)
        known = (numbers[column] for numbers in _ATTRIBUTES.values())
        steps += [step for number in known if number is not None for step in _refuse(number)]
    if not signals:
        for numbers in _SIGNALS.values():
            steps += _refuse_other(numbers[column], os.getpid())
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _refuse(number: int, error: int = errno.EPERM) -> list[bytes]:
    return [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ERRNO | error)]


def _refuse_other(number: int, allowed: int) -> list[bytes]:
    """Refuse the call unless the lower half of its first argument is `allowed`."""
    return [
        _step(_EQUAL, number, 0, 4),
        _step(_LOAD, _ARGUMENTS),
        _step(_EQUAL, allowed, 1, 0),
        _step(_RETURN, _ERRNO | errno.EPERM),
        _step(_LOAD, _NUMBER),
    ]


def _refuse_flags(number: int, flags: int, argument: int = 0) -> list[bytes]:
    """Refuse the call where any of the bits is set in this argument."""
    return [
        _step(_EQUAL, number, 0, 4),
        _step(_LOAD, _ARGUMENTS + 8 * argument),
        _step(_ANY_BIT, flags, 0, 1),
        _step(_RETURN, _ERRNO | errno.EPERM),
        _step(_LOAD, _NUMBER),
    ]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
