"""The states of a job and of a trial, and which transitions are allowed."""

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job is in its life.

    queued ──▶ running ──▶ succeeded | failed | expired
       │          └──▶ cancelling ──▶ cancelled
       └──▶ cancelled | failed | expired        (running ──▶ queued when a worker hands it back)
    """

    QUEUED = "queued"  #: waiting for a worker
    RUNNING = "running"  #: a worker holds the lease and trains
    CANCELLING = "cancelling"  #: asked to stop; the worker has not confirmed yet
    CANCELLED = "cancelled"  #: stopped on request; evidence so far is kept
    SUCCEEDED = "succeeded"  #: a recommendation is published
    FAILED = "failed"  #: it cannot go on; `error` says why, evidence is kept
    EXPIRED = "expired"  #: its deadline passed before a result could be published

    @property
    def is_finished(self) -> bool:
        """Whether the job can never change again."""
        return self in FINISHED


FINISHED = frozenset(
    {JobStatus.CANCELLED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.EXPIRED}
)

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset(
        {JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED, JobStatus.EXPIRED}
    ),
    JobStatus.RUNNING: frozenset(
        {
            JobStatus.QUEUED,
            JobStatus.CANCELLING,
            JobStatus.SUCCEEDED,
            JobStatus.FAILED,
            JobStatus.EXPIRED,
        }
    ),
    JobStatus.CANCELLING: frozenset({JobStatus.CANCELLED}),
    JobStatus.CANCELLED: frozenset(),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.EXPIRED: frozenset(),
}


class TrialState(StrEnum):
    """How one training run stands."""

    RUNNING = "running"  #: asked and recorded, not finished
    COMPLETE = "complete"  #: trained to its last step; `value` is its metric
    DIVERGED = "diverged"  #: loss became non-finite or blew up: a result, not a fault
    FAILED = "failed"  #: raised, ran out of memory or its process died; `error` says why

    @property
    def is_finished(self) -> bool:
        """Whether the trial can never change again."""
        return self is not TrialState.RUNNING


class Stage(StrEnum):
    """The checkpointed stages of a job, in the order they run."""

    RANGE_TEST = "range_test"
    SEARCH = "search"
    CONFIRM = "confirm"
    RECOMMEND = "recommend"
