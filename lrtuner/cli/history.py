"""The command that shows what jobs of one name found, one after the other: history."""

from collections.abc import Sequence
from typing import Annotated

import typer

from lrtuner.cli.output import STDOUT, columns, note, require_writable, save, say
from lrtuner.cli.progress import Lines
from lrtuner.client import Client, Job
from lrtuner.errors import InvalidInputError
from lrtuner.headline import Headline
from lrtuner.history import Run, changes
from lrtuner.jsontext import dumps
from lrtuner.plots import history_svg
from lrtuner.words import number

COMMIT = "commit"

_SHORT = 12
_NONE = "-"
_EXAMPLES = """\b
Examples:
  lrtuner history resnet-prod
  lrtuner history resnet-prod --metadata branch=main --plot history.svg
  lrtuner history resnet-prod --json | jq -r '.[-1].verdict.peak_lr'

\b
A job has the commit that its metadata names: {"metadata": {"commit": "4f0c2a1"}}.
"""

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        help="Only jobs that carry this label; may be repeated.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog=_EXAMPLES)(history)


def history(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the jobs.")],
    metadata: Labels = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest.")] = 20,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.svg", help="Where to draw them; - is stdout.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as a JSON list.")] = False,
) -> None:
    """Show what the jobs of one name found, the newest last, and what changed between them.

    Each line has the date, the commit, the family and the peak that were recommended, the
    difference to the baseline with its 95 % interval, the verdict, and in words what is different
    from the last run before.
    """
    if plot is not None:
        if as_json and plot == STDOUT:
            raise InvalidInputError("--json and --plot - both write to stdout: give one of them")
        require_writable(plot)
    with Client.from_environment(on_retry=Lines().trouble) as client:
        jobs = client.jobs(limit=limit, name=name, metadata=labels_of(metadata))[::-1]
    runs = [_run(job) for job in jobs]
    if not runs:
        note(f"no job is called {name!r}" + (" and carries these labels" if metadata else ""))
    if plot is not None:
        save(plot, history_svg(name, runs).encode())
    tell = note if plot == STDOUT else say
    if as_json:
        told = zip(jobs, changes(runs), strict=True)
        say(dumps([_data(job, change) for job, change in told], indent=2))
    elif runs:
        tell("\n".join(_told(runs)))


def labels_of(given: Sequence[str] | None) -> dict[str, str]:
    """The labels that `--metadata KEY=VALUE` names.

    Raises:
        InvalidInputError: one is not of this form.
    """
    labels = {}
    for each in given or ():
        key, sign, value = each.partition("=")
        if not key or not sign:
            raise InvalidInputError(f"--metadata must be KEY=VALUE, got {each!r}")
        labels[key] = value
    return labels


def _run(job: Job) -> Run:
    told = job.verdict.model_dump(include=set(Headline.model_fields)) if job.verdict else None
    return Run(
        job_id=job.id,
        status=str(job.status),
        at=job.queued_at,
        commit=job.metadata.get(COMMIT),
        found=Headline.model_validate(told) if told else None,
    )


def _told(runs: Sequence[Run]) -> list[str]:
    head = ("DATE", "COMMIT", "FAMILY", "PEAK", "DIFFERENCE", "VERDICT", "CHANGE")
    lines = [head]
    for run, change in zip(runs, changes(runs), strict=True):
        found = run.found
        lines.append(
            (
                (run.at or _NONE)[:16].replace("T", " "),
                (run.commit or _NONE)[:_SHORT],
                found.family.replace("_", " ") if found else _NONE,
                number(found.peak_lr) if found else _NONE,
                _difference(found) if found else _NONE,
                (found.status or "no verdict").replace("_", " ") if found else run.status,
                change,
            )
        )
    return columns(lines)


def _difference(found: Headline) -> str:
    if found.difference is None:
        return _NONE
    interval = " [{:+.2g}, {:+.2g}]".format(*found.ci95) if found.ci95 else ""
    return f"{found.difference:+.2g}{interval}"


def _data(job: Job, change: str) -> dict[str, object]:
    told = job.model_dump(mode="json", exclude_unset=True)
    kept = ("id", "status", "name", "metadata", "queued_at", "finished_at", "verdict")
    return {name: told.get(name) for name in kept} | {"change": change}
