"""How code of others fails the run or the job that it was for."""

from lrtuner.errors import JobFailedError

TIMED_OUT = "code.timed_out"
OUT_OF_MEMORY = "code.out_of_memory"
TOO_MANY_PROCESSES = "code.too_many_processes"
DISK_FULL = "code.disk_full"
CRASHED = "code.crashed"
PROTOCOL = "code.protocol"
NOT_STARTED = "code.not_started"
FAILED = "code.failed"
INVALID_TASK = "code.invalid_task"
NOT_ALLOWED = "code.not_allowed"
WALL_MISSING = "code.wall_missing"


class CodeError(JobFailedError):
    """Code of others was stopped, ended by itself, or told what it must not.

    Args:
        code: one of those above, or what the code itself raised (`worker.failure`).
        message: what happened, for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
