"""Jobs: submit, list, look at, cancel."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from lrtuner.document import verify
from lrtuner.errors import DatabaseDownError, InvalidInputError
from lrtuner.job import JobSpec
from lrtuner.keys import Scope
from lrtuner.lifecycle import JobStatus
from lrtuner.sources import Code
from lrtuner.store import JobRow, queue, reading
from service.access import Granted, require_scope
from service.bodies import body_of
from service.caching import conditional
from service.code import check_code
from service.dependencies import (
    JobId,
    Parameters,
    SettingsDep,
    StorageDep,
    WatcherDep,
    bad_cursor,
)
from service.filters import Labelled
from service.fitting import settled
from service.headers import LONGEST_WAIT, asks_anew, preferred_wait
from service.job import Job, job_resource, seconds_to_wait
from service.openapi import ACCEPTED, ANSWERED, JOB_EXAMPLES, LABELS, NOT_MODIFIED, request_body
from service.pages import Page, page_of
from service.problem import ProblemError, documented
from service.settings import Settings
from service.storage import Storage
from service.submitting import Submit, Submitted, submit
from service.watching import Watcher
from service.webhook import check_receiver

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class JobFilter(Labelled):
    """Which jobs to list."""

    status: list[JobStatus] = Field(default=[], description="Repeat it for several.")
    after: Annotated[str | None, Field(description="`next_after` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class SubmitQuery(Parameters):
    """How to submit."""

    cache: Annotated[
        bool,
        Field(description="Whether a job that has answered the same question before will do."),
    ] = True


class JobQuery(Parameters):
    """How to look at a job."""

    wait: Annotated[
        int,
        Field(
            ge=0,
            le=LONGEST_WAIT,
            description="Seconds to wait for a change: of what `If-None-Match` names, else of the "
            "job as it stands.",
        ),
    ] = 0


@router.post(
    "",
    status_code=202,
    responses={
        200: {"model": Job, **ANSWERED},
        202: ACCEPTED,
        **documented(400, 403, 413, 415, 422, 429, 503),
    },
    openapi_extra=request_body(JobSpec, JOB_EXAMPLES),
)
async def submit_job(
    spec: Annotated[JobSpec, Depends(body_of(JobSpec))],
    wanted: Annotated[SubmitQuery, Query()],
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    watcher: WatcherDep,
    granted: Granted,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[!-~]{1,255}$",
            description="Any text of yours, such as a UUID: for 24 hours the same key with the "
            "same body is answered with the same job.",
        ),
    ] = None,
    cache_control: Annotated[
        str, Header(description="`no-cache` does what `cache=false` does.")
    ] = "",
    prefer: Annotated[
        str,
        Header(description="`wait=N`: answer when the job has finished, after 60 s at most."),
    ] = "",
) -> Job:
    """Submit a job. Once the 202 is there, the job is in the database and will be run.

    A job that asks the same question as one that has succeeded is answered with that one: a 200
    with `X-Cache: hit`. The question is everything but `name`, `metadata`, `priority`,
    `deadline_minutes`; jobs with a `webhook`, and those on files, checkpoints or functions of the
    worker's machine, are never answered so.
    """
    sent = Submit(
        spec=spec,
        caller=granted,
        quotas=settings.quotas.of(granted.key),
        key=idempotency_key,
        use_cache=wanted.cache and not asks_anew(cache_control),
        max_attempts=settings.max_attempts,
    )
    found = await run_in_threadpool(_submitted, sent, storage, settings)
    row, seconds = found.job, preferred_wait(prefer)
    if seconds is not None:
        response.headers["Preference-Applied"] = f"wait={seconds}"
        row = await _finished(row, seconds, storage, watcher)
    if found.cached or (seconds is not None and row.status.is_finished):
        response.status_code = 200
    if found.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    if not row.status.is_finished:
        response.headers["Retry-After"] = str(seconds_to_wait(row))
    response.headers["X-Cache"] = "hit" if found.cached else "miss"
    job = job_resource(row, settings.public_url)
    response.headers["Location"] = job.links.self
    return job


@router.get(
    "",
    responses=documented(400, 422, 503),
    openapi_extra=LABELS,
)
def list_jobs(
    wanted: Annotated[JobFilter, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Page[Job]:
    """List jobs, newest first. Paging shows every job once, however many arrive meanwhile."""
    with storage.reading() as connection:
        try:
            page = reading.list_jobs(
                connection,
                after=wanted.after,
                limit=wanted.limit,
                status=wanted.status or None,
                name=wanted.name,
                metadata=wanted.labels,
                team=granted.sees,
            )
        except InvalidInputError:  # everything but the cursor has been validated
            raise bad_cursor() from None
    jobs = [job_resource(row, settings.public_url) for row in page.items]
    return page_of(request, response, jobs, page.next_cursor)


@router.head("/{job_id}", responses={304: NOT_MODIFIED, **documented(404, 422, 503)})
@router.get(
    "/{job_id}", response_model=Job, responses={304: NOT_MODIFIED, **documented(404, 422, 503)}
)
async def show_job(
    job_id: JobId,
    wanted: Annotated[JobQuery, Query()],
    request: Request,
    storage: StorageDep,
    settings: SettingsDep,
    watcher: WatcherDep,
) -> Response:
    """Look at a job. While it is not finished, `Retry-After` says when to look again.

    With `wait` the answer comes at the next change, or after so many seconds with the job as it
    stands. Send its ETag as `If-None-Match`, so that no change is missed between two requests: if
    the job is another by now the answer comes at once, and if it stays the same it is a 304.
    """
    row = await run_in_threadpool(_row, storage, job_id)
    answer = _shown(request, row, settings)
    as_known = answer.status_code == 304 or "if-none-match" not in request.headers
    if not wanted.wait or row.status.is_finished or not as_known:
        return answer
    await watcher.change(job_id, row.state, wanted.wait)
    return _shown(request, await run_in_threadpool(_row, storage, job_id), settings)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    responses={
        200: {"model": Job, "description": "It was being cancelled, or was cancelled, already."},
        **documented(404, 409, 503),
    },
)
def cancel_job(
    job_id: JobId, response: Response, storage: StorageDep, settings: SettingsDep
) -> Job:
    """Cancel a job: at once when it waits, else as soon as its worker notices.

    What was measured until then is kept.
    """
    with storage.writing() as connection:
        before = reading.get_job(connection, job_id)
        queue.cancel(connection, job_id)
        row = reading.get_job(connection, job_id)
    if before.status in (JobStatus.CANCELLING, JobStatus.CANCELLED):
        response.status_code = 200
    return job_resource(row, settings.public_url)


def _submitted(sent: Submit, storage: Storage, settings: Settings) -> Submitted:
    _check_baseline(sent.spec)
    if sent.spec.webhook:
        check_receiver(sent.spec.webhook, settings, within="webhook.")
    if isinstance(sent.spec.model, Code):
        require_scope(sent.caller, Scope.CODE)
    team = sent.caller.sees
    with storage.writing() as connection:

        def runnable(spec: JobSpec) -> JobSpec:
            check_code(connection, spec, settings, team=team)
            return settled(connection, spec, settings, team=team)

        return submit(connection, sent, runnable)


async def _finished(row: JobRow, seconds: int, storage: Storage, watcher: Watcher) -> JobRow:
    """The job once it has finished, or as it stands after so long."""
    if row.status.is_finished:
        return row
    await watcher.finish(row.id, row.state, seconds)
    try:
        return await run_in_threadpool(_row, storage, row.id)
    except DatabaseDownError:
        return row  # it is accepted, and the answer says so


def _row(storage: Storage, job_id: str) -> JobRow:
    with storage.reading() as connection:
        return reading.get_job(connection, job_id)


def _shown(request: Request, row: JobRow, settings: Settings) -> Response:
    headers = {"Cache-Control": "no-cache"}
    if not row.status.is_finished:
        headers["Retry-After"] = str(seconds_to_wait(row))
    content = job_resource(row, settings.public_url).model_dump_json().encode()
    return conditional(request, content, "application/json", headers)


def _check_baseline(spec: JobSpec) -> None:
    """Refuse a baseline that does not give the rates it promises: it would be the wrong one."""
    try:
        if spec.baseline:
            verify(spec.baseline)
    except InvalidInputError as error:
        message = f"baseline: {error}"
        entry = {"pointer": "/baseline", "field": "baseline", "message": message}
        raise ProblemError("invalid_schedule", message, errors=[entry]) from None
