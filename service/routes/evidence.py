"""Evidence: what happened to a job, and what was measured."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lrtuner.lifecycle import Stage, TrialState
from lrtuner.store import EventRow, TrialRow, reading
from service.dependencies import JobId, Parameters, StorageDep, number_after
from service.job import check_evidence, not_ready
from service.pages import Page, page_of, utc, utc_or_none
from service.problem import ProblemError, documented

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["evidence"])

_JSON_RANGES = ("application/json", "application/*", "*/*")


class Event(BaseModel):
    """Something that happened to a job; `seq` counts 1, 2, 3... without gaps."""

    seq: int
    at: str
    kind: str
    phase: str | None
    message: str
    data: dict[str, Any]


class Trial(BaseModel):
    """One training run: its place in the job, and everything that was recorded of it."""

    model_config = ConfigDict(extra="allow")

    number: int
    attempt: int
    phase: str
    state: TrialState
    value: float | None = Field(description="The metric that decides; null if there is none.")
    cost: float | None = Field(description="In full-training equivalents.")
    started_at: str
    finished_at: str | None


class EventQuery(Parameters):
    """Which events to list."""

    after: Annotated[str | None, Field(description="Only events above this `seq`.")] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class TrialQuery(Parameters):
    """Which trials to list, and how much of each."""

    after: Annotated[str | None, Field(description="Only trials above this `number`.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    curves: Annotated[bool, Field(description="Whether to include the loss curves.")] = False


@router.get("/events", responses=documented(400, 404, 406, 422, 503))
def list_events(
    job_id: JobId,
    wanted: Annotated[EventQuery, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Page[Event]:
    """What happened to the job, oldest first."""
    if "text/event-stream" in accept and not any(media in accept for media in _JSON_RANGES):
        raise ProblemError(
            "not_acceptable", "Events are not streamed (yet); ask for application/json."
        )
    after = number_after(wanted.after, first=0)
    with storage.reading() as connection:
        reading.get_job(connection, job_id)
        rows = reading.list_events(connection, job_id, after=after, limit=wanted.limit + 1)
    shown = rows[: wanted.limit]
    next_after = str(shown[-1].seq) if len(rows) > wanted.limit else None
    return page_of(request, response, [_event(row) for row in shown], next_after)


@router.get("/range-test", responses=documented(404, 409, 410, 503))
def show_range_test(job_id: JobId, storage: StorageDep) -> dict[str, Any]:
    """The LR range test: its sweeps, and the range of learning rates read off them."""
    with storage.reading() as connection:
        job = reading.get_job(connection, job_id)
        check_evidence(job)
        result = reading.get_stage(connection, job_id, Stage.RANGE_TEST)
    if result is None:
        raise not_ready(job, "range test")
    return result


@router.get("/trials", responses=documented(400, 404, 410, 422, 503))
def list_trials(
    job_id: JobId,
    wanted: Annotated[TrialQuery, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
) -> Page[Trial]:
    """The training runs of the job, in the order they were started."""
    after = number_after(wanted.after, first=-1)
    with storage.reading() as connection:
        check_evidence(reading.get_job(connection, job_id))
        rows = reading.list_trials(connection, job_id, after=after, limit=wanted.limit + 1)
    shown = rows[: wanted.limit]
    next_after = str(shown[-1].number) if len(rows) > wanted.limit else None
    trials = [_trial(row, curves=wanted.curves) for row in shown]
    return page_of(request, response, trials, next_after)


def _event(row: EventRow) -> Event:
    return Event(
        seq=row.seq,
        at=utc(row.at),
        kind=row.kind,
        phase=row.phase,
        message=row.message,
        data=row.data,
    )


def _trial(row: TrialRow, *, curves: bool) -> Trial:
    recorded = {k: v for k, v in row.document.items() if curves or k != "curve"}
    columns = {
        "number": row.number,
        "attempt": row.attempt,
        "phase": row.phase,
        "state": row.state,
        "value": row.value,
        "cost": row.cost,
        "started_at": utc(row.started_at),
        "finished_at": utc_or_none(row.finished_at),
    }
    return Trial.model_validate(recorded | columns)
