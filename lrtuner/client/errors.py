"""What can go wrong between a client and the service."""

from lrtuner.client.answers import Job, Problem
from lrtuner.errors import LRTunerError


class ServerUnreachableError(LRTunerError):
    """The service cannot be reached."""

    code = "server_unreachable"


class ProblemError(LRTunerError):
    """The service refused the request; `problem` is what it answered."""

    code = "problem"

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class WaitTimeoutError(LRTunerError):
    """The job had not finished in time. It goes on; `job` is how it stood."""

    code = "wait_timeout"

    def __init__(self, job: Job, timeout: float) -> None:
        super().__init__(f"job {job.id} is still {job.status} after {timeout:g} s")
        self.job = job
