"""The command that runs the LR range test alone, here, without a service: find."""

from pathlib import Path
from typing import Annotated

import typer

from lrtuner.cli.here import CodeFolder, run_worker
from lrtuner.cli.output import STDOUT, note, require_writable, save, say, table
from lrtuner.cli.processes import require
from lrtuner.errors import JobFailedError
from lrtuner.jsontext import dumps
from lrtuner.plots import range_test_svg
from lrtuner.range_test import RangeTestResult
from lrtuner.words import Rows, number

_INTERVALS = {
    "probes": "and where the held-out loss is within 1.25 times the lowest",
    "range_test": "with the lowest and the highest over seeds",
    "optimizer_default": "all of them the optimizer's usual ones",
    "job": "within search.lr_range of the job",
}

_EXAMPLES = """\b
Examples:
  lrtuner find job.json
  lrtuner find job.json --code .
  lrtuner find job.json --output range-test.json --plot range-test.svg
  LRTUNER_DEVICE=cuda:0 lrtuner find job.json
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog=_EXAMPLES)(find)


def find(
    job: Annotated[Path, typer.Argument(metavar="JOB.json", help="A job, as for submit.")],
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where to write the result; - is stdout.")
    ] = None,
    plot: Annotated[str | None, typer.Option(metavar="FILE.svg", help="Where to draw it.")] = None,
    code: CodeFolder = None,
) -> None:
    """Run the LR range test of a job, here and without a service.

    Sweeps say where training diverges. Probes, which are trainings of half the length at a few
    rates, say which peak to use for each kind of schedule. All of it costs about four trainings;
    search.budget.full_runs of the job bounds that, and with less there are fewer and shorter probes
    or none. Needs lrtuner[worker].
    """
    require("worker")
    for file in (output, plot):
        if file is not None:
            require_writable(file)
    told = run_worker("worker.find", job, code, "the range test")
    result = RangeTestResult.model_validate({k: told[k] for k in RangeTestResult.model_fields})
    if output is not None:
        save(output, (dumps(told, indent=2) + "\n").encode())
    if plot is not None:
        save(plot, range_test_svg(result).encode())
    tell = note if STDOUT in (output, plot) else say
    tell("\n".join(_summary(result)))
    if result.status == "failed":
        raise JobFailedError(result.message)


def _summary(result: RangeTestResult) -> list[str]:
    suggestion = result.suggestion
    rows: Rows = [("status", f"{result.status}: {result.message}")]
    for kind, peak in suggestion.peaks.items():
        text = number(peak.lr)
        if peak.low is not None and peak.high is not None:
            text += f"   {number(peak.low)} to {number(peak.high)}"
        if peak.base is not None:
            text += f", base {number(peak.base)}"
        rows.append((kind.replace("_", " "), text))
    rows.append(("search between", f"{number(suggestion.low)} and {number(suggestion.high)}"))
    rows.append(("cost", f"{number(result.cost)} full trainings"))
    return [
        "",
        f"Peak learning rates by the LR range test, {_INTERVALS[suggestion.source]}:",
        *table(rows),
    ]
