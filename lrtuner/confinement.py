"""Limits that a process sets for itself before it looks at what nobody trusts."""

import resource


def confine(memory_bytes: int, seconds: int) -> None:
    """Limit this process for the rest of its life; it can write no file, nor dump its core.

    Args:
        memory_bytes: most data in memory.
        seconds: of processor time.
    """
    for limit, value in (
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
