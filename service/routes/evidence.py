"""Evidence: what happened to a job, and what was measured."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from lrtuner.lifecycle import Stage, TrialState
from lrtuner.store import EventRow, JobRow, TrialRow, reading
from service.dependencies import JobId, Parameters, StorageDep, WatcherDep, number_after
from service.headers import accepted
from service.job import check_evidence, not_ready
from service.middleware import Stream
from service.openapi import EVENTS, NO_MORE_EVENTS
from service.pages import Page, page_of, utc, utc_or_none
from service.problem import ProblemError, documented
from service.storage import Storage
from service.watching import server_sent

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["evidence"])

JSON, STREAM = "application/json", "text/event-stream"

#: A proxy that collected the events would keep them from those who wait.
_STREAMING = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


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


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: EVENTS,
    204: NO_MORE_EVENTS,
    **documented(400, 404, 406, 422, 503),
}


@router.head("/events", response_model=None, responses=_ANSWERS)
@router.get("/events", response_model=Page[Event], responses=_ANSWERS)
async def list_events(
    job_id: JobId,
    wanted: Annotated[EventQuery, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    watcher: WatcherDep,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    last_event_id: Annotated[
        str | None, Header(description="The `id` of the last event of a stream that broke off.")
    ] = None,
) -> Page[Event] | Response:
    """What happened to the job, oldest first: a page, or with `text/event-stream` as it happens.

    The `id` of a server-sent event is its `seq`, `event` its `kind`, `data` the event as in the
    page. A stream ends with `job.finished`, without an id, or sooner: then come again with
    `Last-Event-ID`, as browsers do by themselves. There is no gap and nothing twice. When nothing
    happens a comment comes every 15 seconds.
    """
    media_type = accepted(accept, (JSON, STREAM))
    if media_type is None:
        raise ProblemError("not_acceptable", f"Events come as {JSON} or as {STREAM}.")
    if media_type == JSON:
        after = number_after(wanted.after, first=0)
        return await run_in_threadpool(
            _page, job_id, wanted.limit, after, request, response, storage
        )
    after = number_after(last_event_id or wanted.after, first=0)
    job = await run_in_threadpool(_job, storage, job_id)
    if job.status.is_finished and after >= job.event_seq:
        return Response(status_code=204)
    if request.method == "HEAD":
        return Response(media_type=STREAM, headers=_STREAMING)
    events = watcher.stream(job_id, job.state, after)
    return Stream(events, STREAM, _STREAMING)


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


def event_chunk(row: EventRow) -> bytes:
    """The event as it is sent to those who wait for it."""
    return server_sent(row.seq, row.kind, _event(row).model_dump_json())


def _page(
    job_id: str, limit: int, after: int, request: Request, response: Response, storage: Storage
) -> Page[Event]:
    with storage.reading() as connection:
        reading.get_job(connection, job_id)
        rows = reading.list_events(connection, job_id, after=after, limit=limit + 1)
    shown = rows[:limit]
    next_after = str(shown[-1].seq) if len(rows) > limit else None
    return page_of(request, response, [_event(row) for row in shown], next_after)


def _job(storage: Storage, job_id: str) -> JobRow:
    with storage.reading() as connection:
        return reading.get_job(connection, job_id)


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
