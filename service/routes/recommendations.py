"""The recommendation: the schedule config of a job, to download."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lrtuner.errors import NotFoundError
from lrtuner.export import EXPORTERS
from lrtuner.lifecycle import JobStatus
from lrtuner.store import reading
from service.access import Granted
from service.caching import download
from service.dependencies import JobId, Parameters, SettingsDep, StorageDep, parameter_error
from service.filters import Labelled
from service.findings import loaded
from service.job import not_ready
from service.openapi import DOWNLOAD, LABELS, NOT_MODIFIED, PART
from service.problem import documented
from service.wording import did_you_mean, one_of, shown

router = APIRouter(prefix="/v1", tags=["recommendation"])

#: A published config never changes. What is rendered from it may, with another version.
_CACHING = {"json": "private, max-age=31536000, immutable"}
#: Which one is the latest changes with every job.
_LATEST_CACHING = "private, max-age=60"


def _known_format(name: str) -> str:
    if name in EXPORTERS:
        return name
    raise PydanticCustomError(
        "unknown_format",
        "it must be {expected}{hint}",
        {"expected": one_of(list(EXPORTERS)), "hint": did_you_mean(name, list(EXPORTERS))},
    )


class DownloadQuery(Parameters):
    """Which form to download."""

    format: Annotated[
        str, AfterValidator(_known_format), Field(json_schema_extra={"enum": list(EXPORTERS)})
    ] = "json"


class LatestQuery(Labelled, DownloadQuery):
    """Whose recommendation to download, and in which form."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.name is None and not self.labels:
            reason = "missing; say which jobs are meant: name, or metadata[KEY]=VALUE"
            raise parameter_error("name", reason)
        return self


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: DOWNLOAD,
    206: PART,
    304: NOT_MODIFIED,
    **documented(404, 409, 416, 422, 503),
}


@router.head("/jobs/{job_id}/recommendation", response_class=Response, responses=_ANSWERS)
@router.get("/jobs/{job_id}/recommendation", response_class=Response, responses=_ANSWERS)
def download_recommendation(
    job_id: JobId, wanted: Annotated[DownloadQuery, Query()], request: Request, storage: StorageDep
) -> Response:
    """Download the recommended schedule: the config itself, or rendered for another program.

    `format=json` is the file exactly as it was published; `GET /v1/exports` lists the formats.
    """
    with storage.reading() as connection:
        published = reading.get_recommendation(connection, job_id)
        if published is None:
            raise not_ready(reading.get_job(connection, job_id), "recommendation")
    caching = _CACHING.get(wanted.format, "private, no-cache")
    return _file(request, published, wanted.format, {"Cache-Control": caching})


@router.head(
    "/recommendations/latest",
    response_class=Response,
    responses={k: v for k, v in _ANSWERS.items() if k != 409},
    openapi_extra=LABELS,
)
@router.get(
    "/recommendations/latest",
    response_class=Response,
    responses={k: v for k, v in _ANSWERS.items() if k != 409},
    openapi_extra=LABELS,
)
def download_latest(
    wanted: Annotated[LatestQuery, Query()],
    request: Request,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Response:
    """Download the current schedule: that of the newest job of a name, or with labels.

    It is the first that succeeded of those that `GET /v1/jobs` lists with the same filters;
    `Content-Location` is where it stays.
    """
    with storage.reading() as connection:
        found = reading.list_jobs(
            connection,
            limit=1,
            status=[JobStatus.SUCCEEDED],
            name=wanted.name,
            metadata=wanted.labels,
            team=granted.sees,
        )
        job_id = found.items[0].id if found.items else None
        published = reading.get_recommendation(connection, job_id) if job_id else None
    if published is None:
        raise NotFoundError(f"No job with {_told(wanted)} has succeeded.")
    own = f"{settings.public_url}/v1/jobs/{job_id}/recommendation?format={wanted.format}"
    headers = {"Cache-Control": _LATEST_CACHING, "Content-Location": own}
    return _file(request, published, wanted.format, headers)


def _file(request: Request, published: str, format: str, headers: Mapping[str, str]) -> Response:
    exporter = EXPORTERS[format]
    text = published if format == "json" else exporter.render(loaded(published))
    name = {"Content-Disposition": f'attachment; filename="{exporter.filename}"'}
    return download(request, text.encode(), exporter.media_type, {**headers, **name})


def _told(wanted: LatestQuery) -> str:
    name = [] if wanted.name is None else [f"the name {shown(wanted.name)}"]
    labels = [f"{shown(key)} = {shown(value)}" for key, value in wanted.labels.items()]
    return " and ".join([*name, *labels])
