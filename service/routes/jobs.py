"""Jobs: submit, list, look at, cancel."""

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lrtuner.document import verify
from lrtuner.errors import InvalidInputError
from lrtuner.job import JobSpec, Key, Priority, Text, Value
from lrtuner.keys import Scope
from lrtuner.lifecycle import JobStatus
from lrtuner.sources import Code
from lrtuner.store import queue, reading
from lrtuner.store.quotas import admit
from service.access import Granted, require_scope
from service.bodies import body_of
from service.caching import conditional
from service.code import check_code
from service.dependencies import (
    JobId,
    Parameters,
    SettingsDep,
    StorageDep,
    bad_cursor,
    parameter_error,
)
from service.fitting import settled
from service.job import Job, job_resource, seconds_to_wait
from service.openapi import ACCEPTED, NOT_MODIFIED, deep_object, request_body
from service.pages import Page, page_of
from service.problem import ProblemError, documented
from service.wording import shown

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_PRIORITIES: dict[Priority, int] = {"high": 50, "normal": 100, "low": 150}

_LABELS = TypeAdapter(dict[Key, Value])


class JobFilter(Parameters):
    """Which jobs to list."""

    model_config = ConfigDict(extra="allow")

    status: list[JobStatus] = Field(default=[], description="Repeat it for several.")
    name: Annotated[Text | None, Field(description="Exactly this name.")] = None
    after: Annotated[str | None, Field(description="`next_after` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20

    @classmethod
    def is_free_form(cls, name: str) -> bool:
        """`metadata[KEY]=VALUE` filters by a label."""
        return name.startswith("metadata[") and name.endswith("]")

    @property
    def labels(self) -> dict[str, str]:
        """The labels to filter by."""
        given = self.model_extra or {}
        return {name.removeprefix("metadata[")[:-1]: value for name, value in given.items()}

    @model_validator(mode="after")
    def _labels_can_be(self) -> Self:
        for key, value in self.labels.items():
            try:
                _LABELS.validate_python({key: value})
            except ValidationError as error:
                reason = f"{shown(value)} cannot be a label: {error.errors()[0]['msg']}"
                raise parameter_error(f"metadata[{key}]", reason) from None
        return self


@router.post(
    "",
    status_code=202,
    responses={202: ACCEPTED, **documented(400, 403, 413, 415, 422, 429, 503)},
    openapi_extra=request_body(JobSpec),
)
def submit_job(
    spec: Annotated[JobSpec, Depends(body_of(JobSpec))],
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Job:
    """Submit a job. Once the 202 is there, the job is in the database and will be run."""
    _check_baseline(spec)
    if isinstance(spec.model, Code):
        require_scope(granted, Scope.CODE)
    quotas = settings.quotas.of(granted.key)
    with storage.writing() as connection:
        admit(connection, granted.key_id, quotas)
        check_code(connection, spec, settings, team=granted.sees)
        spec = settled(connection, spec, settings, team=granted.sees)
        job_id = queue.enqueue(
            connection,
            spec=spec.model_dump(mode="json", by_alias=True),
            name=spec.name,
            metadata=spec.metadata,
            priority=_PRIORITIES[spec.priority],
            deadline_seconds=spec.deadline_minutes and 60.0 * spec.deadline_minutes,
            key_id=granted.key_id,
            team=granted.team,
            max_running=quotas.max_running,
        )
        row = reading.get_job(connection, job_id)
    job = job_resource(row, settings.public_url)
    response.headers["Location"] = job.links.self
    response.headers["Retry-After"] = str(seconds_to_wait(row))
    return job


@router.get(
    "",
    responses=documented(400, 422, 503),
    openapi_extra=deep_object("metadata", "Labels that a job must carry."),
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


@router.get("/{job_id}", response_model=Job, responses={304: NOT_MODIFIED, **documented(404, 503)})
def show_job(
    job_id: JobId, request: Request, storage: StorageDep, settings: SettingsDep
) -> Response:
    """Look at a job. While it is not finished, `Retry-After` says when to look again."""
    with storage.reading() as connection:
        row = reading.get_job(connection, job_id)
    headers = {"Cache-Control": "no-cache"}
    if not row.status.is_finished:
        headers["Retry-After"] = str(seconds_to_wait(row))
    content = job_resource(row, settings.public_url).model_dump_json().encode()
    return conditional(request, content, "application/json", headers)


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


def _check_baseline(spec: JobSpec) -> None:
    """Refuse a baseline that does not give the rates it promises: it would be the wrong one."""
    try:
        if spec.baseline:
            verify(spec.baseline)
    except InvalidInputError as error:
        message = f"baseline: {error}"
        entry = {"pointer": "/baseline", "field": "baseline", "message": message}
        raise ProblemError("invalid_schedule", message, errors=[entry]) from None
