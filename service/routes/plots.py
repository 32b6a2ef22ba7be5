"""Pictures of what a job found. A new plot is one entry in `PLOTS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from lrtuner.errors import NotFoundError
from lrtuner.plots import (
    ledger_svg,
    pairs_svg,
    range_test_svg,
    rungs_svg,
    schedule_svg,
    schedules_pages,
    schedules_svg,
    trials_svg,
)
from service.caching import conditional
from service.dependencies import JobId, StorageDep
from service.findings import Findings
from service.job import check_evidence, not_ready
from service.openapi import NOT_MODIFIED, PICTURE
from service.problem import documented

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["evidence"])


@dataclass(frozen=True)
class Plot:
    """A picture: what of a job it shows, and how it is drawn; None until that is there.

    `split` draws the same as several, where one may be higher than a page.
    """

    what: str
    draw: Callable[[Findings], str | None]
    split: Callable[[Findings], list[str]] | None = None

    def parts(self, found: Findings) -> list[str]:
        """The picture in parts that fit a page; none where it cannot be drawn."""
        drawn = self.draw(found)
        if drawn is None:
            return []
        return self.split(found) if self.split else [drawn]


def _schedule(found: Findings) -> str | None:
    return schedule_svg(found.recommendation) if found.recommendation else None


def _range_test(found: Findings) -> str | None:
    return range_test_svg(found.range_test) if found.range_test else None


def _pairs(found: Findings) -> str | None:
    pairs, objective = found.report.pairs, found.report.objective
    return pairs_svg(pairs, objective.metric, found.sign) if pairs else None


def _trials(found: Findings) -> str | None:
    return trials_svg(found.trials, found.sign) if found.trials else None


def _schedules(found: Findings) -> str | None:
    shown = [trial for trial in found.trials if trial.purpose != "comparison"]
    return schedules_svg(shown, found.sign) if shown else None


def _rungs(found: Findings) -> str | None:
    agreements, objective = found.report.agreements, found.report.objective
    return rungs_svg(agreements, objective.metric, found.sign) if agreements else None


def _ledger(found: Findings) -> str | None:
    ledger = found.report.ledger
    return ledger_svg(ledger) if ledger.entries else None


PLOTS = {
    "schedule": Plot("recommendation", _schedule),
    "pairs": Plot("pair on fresh seeds", _pairs),
    "range_test": Plot("range test", _range_test),
    "trials": Plot("run", _trials),
    "schedules": Plot(
        "run", _schedules, split=lambda found: schedules_pages(found.trials, found.sign)
    ),
    "rungs": Plot("schedule that was run over two horizons", _rungs),
    "ledger": Plot("cost", _ledger),
}

PlotName = Annotated[str, Path(json_schema_extra={"enum": list(PLOTS)})]


@router.get(
    "/plots/{name}.svg",
    response_class=Response,
    responses={200: PICTURE, 304: NOT_MODIFIED, **documented(404, 409, 410, 503)},
)
def show_plot(job_id: JobId, name: PlotName, request: Request, storage: StorageDep) -> Response:
    """A picture as SVG.

    `schedule` is the recommended schedule and its baseline, `pairs` the paired differences on fresh
    seeds, `range_test` the LR range test, `trials` the loss curves of all runs, `schedules` every
    schedule that was tried, `rungs` what schedules gave over short and long horizons, `ledger`
    where the budget went.

    It stands alone: without scripts, fonts or links, as an image or as part of a page.
    """
    if name not in PLOTS:
        raise NotFoundError(f"There is no plot of that name; there are {', '.join(PLOTS)}.")
    plot = PLOTS[name]
    with storage.reading() as connection:
        found = Findings(connection, job_id)
        check_evidence(found.job)
        drawn = plot.draw(found)
    if drawn is None:
        raise not_ready(found.job, plot.what)
    headers = {
        "Cache-Control": "private, no-cache",  # another version may draw it differently
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    }
    return conditional(request, drawn.encode(), "image/svg+xml", headers)
