"""Pictures of what a job found. A new plot is one entry in `PLOTS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from lrtuner.errors import NotFoundError
from lrtuner.lifecycle import Stage
from lrtuner.plots import range_test_svg, schedule_svg
from lrtuner.range_test import RangeTestResult
from lrtuner.store import reading
from service.caching import conditional
from service.dependencies import JobId, StorageDep
from service.job import not_ready
from service.openapi import NOT_MODIFIED, PICTURE
from service.problem import documented
from service.routes.recommendations import loaded

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["evidence"])


@dataclass(frozen=True)
class Plot:
    """A picture: what of a job it shows, how that is read (None until it is there) and drawn."""

    what: str
    read: Callable[[Any, str], Any]
    draw: Callable[[Any], str]


PLOTS = {
    "schedule": Plot(
        "recommendation", reading.get_recommendation, lambda text: schedule_svg(loaded(text))
    ),
    "range_test": Plot(
        "range test",
        lambda connection, job_id: reading.get_stage(connection, job_id, Stage.RANGE_TEST),
        lambda found: range_test_svg(RangeTestResult.model_validate(found)),
    ),
}

PlotName = Annotated[str, Path(json_schema_extra={"enum": list(PLOTS)})]


@router.get(
    "/plots/{name}.svg",
    response_class=Response,
    responses={200: PICTURE, 304: NOT_MODIFIED, **documented(404, 409, 503)},
)
def show_plot(job_id: JobId, name: PlotName, request: Request, storage: StorageDep) -> Response:
    """A picture as SVG.

    `schedule` is the recommended schedule and its baseline, `range_test` the LR range test.

    It stands alone: without scripts, fonts or links, as an image or as part of a page.
    """
    if name not in PLOTS:
        raise NotFoundError(f"There is no plot of that name; there are {', '.join(PLOTS)}.")
    plot = PLOTS[name]
    with storage.reading() as connection:
        job = reading.get_job(connection, job_id)
        found = plot.read(connection, job_id)
    if found is None:
        raise not_ready(job, plot.what)
    headers = {
        "Cache-Control": "private, no-cache",  # another version may draw it differently
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    }
    return conditional(request, plot.draw(found).encode(), "image/svg+xml", headers)
