"""The commands for a downloaded schedule config without a service: export, check, show, summary."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from lrtuner import markdown
from lrtuner.cli import drawing
from lrtuner.cli.output import STDOUT, note, save, say, speaks_unicode, table
from lrtuner.document import AnyDocument, ReactiveDocument, ScheduleDocument, load
from lrtuner.errors import UnsupportedError
from lrtuner.export import EXPORTERS, exporter
from lrtuner.jsontext import dumps
from lrtuner.schedules.grammar import Schedule
from lrtuner.words import (
    Rows,
    baseline_schedule,
    number,
    plural,
    provenance_rows,
    rule_rows,
    schedule_rows,
    title,
    verdict_rows,
)

PIPED_WIDTH = 80

Config = Annotated[
    Path,
    typer.Argument(
        metavar="SCHEDULE.json", help="A schedule config (JSON or YAML), downloaded or written."
    ),
]


_EXPORT = """\b
Examples:
  lrtuner export schedule.json --format torch --output schedule_torch.py
  lrtuner export schedule.json --format csv | head
"""


_SUMMARY = """\b
Examples:
  lrtuner summary schedule.json >> "$GITHUB_STEP_SUMMARY"
  lrtuner summary new.json --against schedule.json > comment.md
"""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    formats = "\n".join(f"  {name:<14}{e.title}" for name, e in EXPORTERS.items())
    app.command(epilog=f"{_EXPORT}\n\b\nFormats:\n{formats}")(export)
    app.command(epilog="Example:  lrtuner check schedule.json && python train.py")(check)
    app.command(epilog="Example:  lrtuner show schedule.json")(show)
    app.command(epilog=_SUMMARY)(summary)


def export(
    config: Config,
    format: Annotated[
        str, typer.Option("--format", metavar="F", help=f"One of {', '.join(EXPORTERS)}.")
    ],
    output: Annotated[
        str, typer.Option(metavar="FILE", help="Where to write it; - is stdout.")
    ] = STDOUT,
) -> None:
    """Render a schedule config for another framework.

    With `--format json`, a config written by hand becomes a complete one: presets and relative
    lengths are written out, and checksum points are added.
    """
    chosen = exporter(format)
    schedule = _with_points(load(config))
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


def check(
    config: Config,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check a schedule config.

    Its format, that it gives the rates its checksum points promise, and its content hash.
    """
    document = load(config)
    checked = [f"format {document.schema_version} ({document.kind})"]
    if isinstance(document, ScheduleDocument):
        points = document.checksum_points
        checked += [
            plural(len(points), "checksum point") if points else "no checksum points",
            "content hash" if document.provenance else "no content hash",
        ]
    if as_json:
        told = {"ok": True, "title": title(document), "kind": document.kind, "checked": checked}
        say(dumps(told, indent=2))
        return
    say(f"ok: {config}: {title(document)}; checked: {', '.join(checked)}")


def show(config: Config) -> None:
    """Draw a schedule config in the terminal.

    With its phases, its verdict, the baseline it was compared with, and where it comes from. A rule
    that reacts to a metric has no curve: it is put in words.
    """
    document = load(config)
    say(f"{config.name}: {title(document)}\n")
    if isinstance(document, ReactiveDocument):
        say("\n".join([*table(rule_rows(document)), *_apart(provenance_rows(document))]))
    else:
        _show(document)


def summary(
    config: Config,
    against: Annotated[
        Path | None,
        typer.Option(metavar="SCHEDULE.json", help="The schedule in use, to compare with."),
    ] = None,
) -> None:
    """Sum up a schedule config in Markdown, for a pipeline or a pull request.

    With --against, also how it differs from the schedule in use; and which of the two is better, if
    the job compared them (see `lrtuner submit --fail-if-worse-than`).
    """
    new, in_use = _schedule(config), _schedule(against) if against else None
    say(markdown.summary(new, in_use, against.name if against else ""))


def drawn(schedule: Schedule, other: Schedule | None, names: tuple[str, str]) -> list[str]:
    """The schedule as stdout can show it, with a legend if there is another one beside it."""
    unicode = speaks_unicode(sys.stdout, drawing.UNICODE.sample)
    pen = drawing.UNICODE if unicode else drawing.ASCII
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH
    lines = drawing.chart(schedule, other, width=width, pen=pen)
    if other is None:
        return lines
    mark = drawing.OTHER
    legend = f"  {pen.curve}  {names[0]}    {mark}  {mark}  {names[1]}, where it differs"
    return [*lines, "", legend]


def _show(schedule: ScheduleDocument) -> None:
    names = ("recommended", "compared with")
    lines = drawn(schedule, baseline_schedule(schedule.verdict), names)
    say("\n".join([*lines, "", *table(schedule_rows(schedule))]))
    rows = (
        verdict_rows(schedule.verdict) if schedule.verdict else [("verdict", "none in this config")]
    )
    say("\n".join(_apart([*rows, *provenance_rows(schedule)])))


def _schedule(path: Path) -> ScheduleDocument:
    document = load(path)
    if isinstance(document, ReactiveDocument):
        raise UnsupportedError(f"{path} reacts to a metric: it has no rates to sum up")
    return document


def _apart(rows: Rows) -> list[str]:
    return ["", *table(rows)] if rows else []


def _with_points(document: AnyDocument) -> AnyDocument:
    """With checksum points if it has none; a published config, whose hash covers them, stays."""
    if isinstance(document, ReactiveDocument) or document.checksum_points or document.provenance:
        return document
    return document.model_copy(update={"checksum_points": document.checkpoints()})
