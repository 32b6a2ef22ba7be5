"""When what trains is at fault, and no run: these end a job, or hand it on, and fail no run."""

from lrtuner.errors import JobFailedError


class RunnerError(JobFailedError):
    """The machines that train a job do not agree with each other."""

    code = "machines_differ"


class ClusterError(RunnerError):
    """The cluster cannot be used."""

    code = "cluster_unavailable"
