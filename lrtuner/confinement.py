"""Limits that a process sets for itself before it looks at what nobody trusts."""

import resource


def confine(memory_bytes: int, seconds: int, file_bytes: int = 0) -> None:
    """Limit this process for the rest of its life; it cannot dump its core.

    Args:
        memory_bytes: most data in memory.
        seconds: of processor time.
        file_bytes: of any file that it writes.
    """
    for limit, value in (
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
