"""The commands for a downloaded schedule config, without a service: export, check, show."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from lrtuner.cli import drawing
from lrtuner.cli.output import STDOUT, note, number, plural, save, say, speaks_unicode
from lrtuner.cli.words import (
    baseline_schedule,
    provenance_rows,
    schedule_rows,
    table,
    title,
    verdict_rows,
)
from lrtuner.document import ScheduleDocument, load
from lrtuner.errors import UnsupportedError
from lrtuner.export import EXPORTERS, exporter
from lrtuner.schedules.grammar import Schedule

PIPED_WIDTH = 80

Config = Annotated[
    Path, typer.Argument(metavar="SCHEDULE.json", help="A downloaded schedule config.")
]


_EXPORT = """\b
Examples:
  lrtuner export schedule.json --format torch --output schedule_torch.py
  lrtuner export schedule.json --format csv | head
"""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    formats = "\n".join(f"  {name:<14}{e.title}" for name, e in EXPORTERS.items())
    app.command(epilog=f"{_EXPORT}\n\b\nFormats:\n{formats}")(export)
    app.command(epilog="Example:  lrtuner check schedule.json && python train.py")(check)
    app.command(epilog="Example:  lrtuner show schedule.json")(show)


def export(
    config: Config,
    format: Annotated[
        str, typer.Option("--format", metavar="F", help=f"One of {', '.join(EXPORTERS)}.")
    ],
    output: Annotated[
        str, typer.Option(metavar="FILE", help="Where to write it; - is stdout.")
    ] = STDOUT,
) -> None:
    """Render a schedule config for another framework."""
    chosen = exporter(format)
    schedule = load(config)
    fidelity = chosen.fidelity(schedule)
    if fidelity.fidelity == "unsupported":
        raise UnsupportedError(f"cannot export to {format}: {fidelity.reason}")
    save(output, chosen.render(schedule).encode())
    if fidelity.fidelity != "exact":
        error = fidelity.max_rel_error
        note(
            f"{fidelity.fidelity}: "
            + (fidelity.reason or "not every rate is exactly the same")
            + (f" (largest error {number(error)} of the peak)" if error is not None else "")
        )
    if output != STDOUT:
        say(output)


def check(config: Config) -> None:
    """Check a schedule config.

    Its format, that it gives the rates its checksum points promise, and its content hash.
    """
    schedule = load(config)
    points = schedule.checksum_points
    checked = [
        f"format {schedule.schema_version}",
        plural(len(points), "checksum point") if points else "no checksum points",
        "content hash" if schedule.provenance else "no content hash",
    ]
    say(f"ok: {config}: {title(schedule)}; checked: {', '.join(checked)}")


def show(config: Config) -> None:
    """Draw a schedule config in the terminal.

    With its phases, its verdict, the baseline it was compared with, and where it comes from.
    """
    schedule = load(config)
    baseline = baseline_schedule(schedule.verdict)
    unicode = speaks_unicode(sys.stdout, drawing.UNICODE.sample)
    pen = drawing.UNICODE if unicode else drawing.ASCII
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH
    say(f"{config.name}: {title(schedule)}\n")
    say("\n".join(drawing.chart(schedule, baseline, width=width, pen=pen)))
    say(
        "\n".join(["", *_legend(baseline, pen), *table(schedule_rows(schedule)), *_about(schedule)])
    )


def _legend(baseline: Schedule | None, pen: drawing.Pen) -> list[str]:
    if baseline is None:
        return []
    other = drawing.OTHER
    return [f"  {pen.curve}  recommended    {other}  {other}  compared with, where it differs", ""]


def _about(schedule: ScheduleDocument) -> list[str]:
    verdict = schedule.verdict
    rows = verdict_rows(verdict) if verdict else [("verdict", "none in this config")]
    return ["", *table([*rows, *provenance_rows(schedule)])]
