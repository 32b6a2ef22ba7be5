"""What the service answers, as far as a client has to understand it."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from lrtuner.lifecycle import JobStatus


class Answer(BaseModel):
    """A piece of an answer. What a newer service adds is kept, not refused."""

    model_config = ConfigDict(frozen=True, extra="allow")


class FieldProblem(Answer):
    """What is wrong with one field of a request."""

    field: str | None = None
    message: str = ""


class Problem(Answer):
    """An error as the service tells it: a refusal (RFC 9457), or why a job failed."""

    status: int | None = None
    title: str | None = None
    detail: str | None = None
    message: str | None = None
    code: str | None = None
    request_id: str | None = None
    errors: list[FieldProblem] | None = None

    def __str__(self) -> str:
        reason = self.detail or self.message or self.title or self.code or "no reason given"
        lines = [reason]
        lines += [f"  {e.message}" for e in self.errors or () if e.message not in reason]
        if self.request_id and (self.status or 0) >= 500:
            lines.append(f"  request {self.request_id}")
        return "\n".join(lines)


class JobProgress(Answer):
    """How far a job is; budgets count full trainings."""

    phase: str | None = None
    trials_finished: int = 0
    budget_spent: float = 0.0
    budget: float | None = None
    best: float | None = None


Item = TypeVar("Item", bound=Answer)


class Page(Answer, Generic[Item]):
    """Some items of a list, newest first, and the cursor that continues behind them."""

    items: list[Item]
    has_more: bool = False
    next_after: str | None = None


class JobVerdict(Answer):
    """What a job recommends in short, and how sure that is."""

    status: str | None = None
    metric: str | None = None
    difference: float | None = None
    ci95: list[float] | None = None
    pairs: int = 0
    peak_lr: float
    family: str
    title: str = ""
    content_hash: str | None = None


class Job(Answer):
    """A job as the service shows it."""

    id: str
    status: JobStatus
    name: str | None = None
    spec: dict[str, Any] = {}
    attempts: int = 0
    queued_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    progress: JobProgress | None = None
    metadata: dict[str, str] = {}
    error: Problem | None = None
    verdict: JobVerdict | None = None
    links: dict[str, Any] = {}


class Submitted(Job):
    """The job that answers a submit; `cached` if it was there already, with the answer."""

    cached: bool = Field(default=False, exclude=True)


class Event(Answer):
    """Something that happened to a job; `seq` counts 1, 2, 3... within the job."""

    seq: int
    kind: str
    phase: str | None = None
    message: str = ""
    data: dict[str, Any] = {}


class Dataset(Answer):
    """An uploaded dataset as the service shows it."""

    id: str
    format: str
    filename: str | None = None
    num_bytes: int = 0
    uploaded_at: str | None = None
    inspection: dict[str, Any] = {}


class ProjectFile(Answer):
    """A file of a project."""

    path: str
    num_bytes: int = 0


class Project(Answer):
    """An uploaded project of code as the service shows it; lists have no `files`."""

    id: str
    filename: str | None = None
    num_bytes: int = 0
    num_files: int = 0
    unpacked_bytes: int = 0
    uploaded_at: str | None = None
    files: list[ProjectFile] = []


class EventPage(Answer):
    """Some events, oldest first."""

    items: list[Event]
    has_more: bool = False
