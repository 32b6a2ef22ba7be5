"""The recommendation: the schedule config of a job, to download."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lrtuner.export import EXPORTERS
from lrtuner.store import reading
from service.caching import conditional
from service.dependencies import JobId, Parameters, StorageDep
from service.findings import loaded
from service.job import not_ready
from service.openapi import DOWNLOAD, NOT_MODIFIED
from service.problem import documented
from service.wording import did_you_mean, one_of

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["recommendation"])

#: A published config never changes. What is rendered from it may, with another version.
_CACHING = {"json": "private, max-age=31536000, immutable"}


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


@router.get(
    "/recommendation",
    response_class=Response,
    responses={200: DOWNLOAD, 304: NOT_MODIFIED, **documented(404, 409, 422, 503)},
)
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
    exporter = EXPORTERS[wanted.format]
    text = published if wanted.format == "json" else exporter.render(loaded(published))
    headers = {
        "Content-Disposition": f'attachment; filename="{exporter.filename}"',
        "Cache-Control": _CACHING.get(wanted.format, "private, no-cache"),
    }
    return conditional(request, text.encode(), exporter.media_type, headers)
