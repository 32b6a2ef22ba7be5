"""The report of a job: everything it found, as a page and as data."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from lrtuner.jsontext import dumps
from lrtuner.report import Report
from lrtuner.report.page import SECURITY, page
from service.caching import conditional
from service.dependencies import JobId, SettingsDep, StorageDep
from service.findings import Findings
from service.job import check_evidence, not_ready
from service.openapi import NOT_MODIFIED
from service.problem import documented
from service.routes.plots import PLOTS

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["evidence"])

_ANSWERS: dict[int | str, dict[str, Any]] = {304: NOT_MODIFIED, **documented(404, 409, 410, 503)}
_CACHING = {"Cache-Control": "private, no-cache"}  # a job goes on; another version says it better


@router.get("/report.html", response_class=HTMLResponse, responses=_ANSWERS)
def show_report(
    job_id: JobId, request: Request, storage: StorageDep, settings: SettingsDep
) -> Response:
    """The report as one HTML file, for the screen and for paper.

    It fetches nothing and runs nothing. Of a job that is not finished, or did not succeed, it has
    what there is so far, and says what is missing and why.
    """
    with storage.reading() as connection:
        found = _begun(Findings(connection, job_id))
        pictures = {name: plot.parts(found) for name, plot in PLOTS.items()}
    text = page(found.report, pictures, settings.public_url)
    headers = _CACHING | {"Content-Security-Policy": SECURITY}
    return conditional(request, text.encode(), "text/html; charset=utf-8", headers)


@router.get(
    "/report.json", response_class=JSONResponse, responses={200: {"model": Report}, **_ANSWERS}
)
def show_report_data(job_id: JobId, request: Request, storage: StorageDep) -> Response:
    """The report as data: every number of the page."""
    with storage.reading() as connection:
        report = _begun(Findings(connection, job_id)).report
    text = dumps(report.model_dump(mode="json"), indent=2) + "\n"
    return conditional(request, text.encode(), "application/json", _CACHING)


def _begun(found: Findings) -> Findings:
    """The same, once a worker has taken the job or it has ended; else there is no report yet."""
    check_evidence(found.job)
    if not found.job.attempts and not found.job.status.is_finished:
        raise not_ready(found.job, "report")
    return found
