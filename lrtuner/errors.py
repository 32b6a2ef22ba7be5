"""Every error lrtuner raises on purpose, as one tree with stable codes.

    LRTunerError
    ├── InvalidInputError          the caller sent something that cannot work
    │   ├── InvalidScheduleError   a schedule document that is no valid schedule
    │   ├── HorizonMismatchError   a schedule used for another number of steps than it was made for
    │   ├── InvalidDatasetError    a file of examples that cannot be used
    │   ├── InvalidCodeError       a project of a user's code that cannot be used
    │   └── UnsupportedError       a request that is well formed, and that this version cannot do
    ├── NotFoundError              no such job, family, format or schema
    ├── ConflictError              the thing exists, but its state forbids the request
    ├── QuotaError                 more than a key may have or do at present
    ├── DatabaseDownError          the database does not answer; what was asked may or may not hold
    │   └── DatabaseFullError      its disk is full: nothing was written
    ├── LeaseLostError             a worker wrote under an attempt that is no longer its own
    └── JobFailedError             a job cannot go on; its evidence is kept
        └── NothingTrainedError    every trial of a job diverged or failed

The class docstring is the default message, `code` is what machines match on. HTTP statuses and exit
codes are decided at the edges, not here.
"""


class LRTunerError(Exception):
    """Something went wrong in lrtuner."""

    code: str = "error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class InvalidInputError(LRTunerError, ValueError):
    """The input is not valid."""

    code = "invalid_input"


class InvalidScheduleError(InvalidInputError):
    """The schedule document is not valid."""

    code = "invalid_schedule"


class HorizonMismatchError(InvalidInputError):
    """The schedule was made for another number of steps."""

    code = "horizon_mismatch"


class InvalidDatasetError(InvalidInputError):
    """The file of examples cannot be used.

    `where` says in which row, column, entry or array of the file, as far as there is one.
    """

    code = "invalid_dataset"

    def __init__(self, message: str | None = None, **where: int | str) -> None:
        super().__init__(message)
        self.where = where


class InvalidCodeError(InvalidInputError):
    """The project of code cannot be used.

    `where` says which entry of the archive, and which line of it, as far as there is one.
    """

    code = "invalid_code"

    def __init__(self, message: str | None = None, **where: int | str) -> None:
        super().__init__(message)
        self.where = where


class UnsupportedError(InvalidInputError):
    """This is not supported."""

    code = "unsupported"


class NotFoundError(LRTunerError, LookupError):
    """There is no such thing."""

    code = "not_found"


class ConflictError(LRTunerError):
    """The current state does not allow this."""

    code = "conflict"


class QuotaError(LRTunerError):
    """The quota is used up; `retry_seconds` from now it may be different."""

    code = "quota_exceeded"

    def __init__(self, message: str | None = None, *, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class DatabaseDownError(LRTunerError):
    """The database does not answer."""

    code = "database_down"


class DatabaseFullError(DatabaseDownError):
    """The disk of the database is full: what is there can be read, and nothing written."""

    code = "database_full"


class LeaseLostError(LRTunerError):
    """This attempt no longer owns the job."""

    code = "lease_lost"


class JobFailedError(LRTunerError):
    """The job cannot go on."""

    code = "job_failed"


class NothingTrainedError(JobFailedError):
    """Every trial diverged or failed."""

    code = "nothing_trained"
