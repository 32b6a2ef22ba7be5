"""The command that says what a job would do, from three updates made here: check-task."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lrtuner.cli.here import CodeFolder, run_worker
from lrtuner.cli.output import say, table
from lrtuner.cli.processes import require
from lrtuner.jsontext import dumps
from lrtuner.words import Rows, number, plural

_EXAMPLES = """\b
Examples:
  lrtuner check-task job.json --code .
  lrtuner check-task job.json --json | jq .seconds.budget
"""

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("check-task", epilog=_EXAMPLES)(check_task)


def check_task(
    job: Annotated[Path, typer.Argument(metavar="JOB.json", help="A job, as for submit.")],
    code: CodeFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Build a job's task here, train three updates, and say what the service would do.

    How many examples and updates there are, what is measured, how long a training and the whole
    budget would take on this machine, and what looks wrong. Nothing is sent anywhere, and the code
    runs as you do. The exit code is 1 if the task cannot be trained. Needs lrtuner[worker].
    """
    require("worker")
    found = run_worker("worker.check", job, code, "the task")
    say(dumps(found, indent=2) if as_json else "\n".join(_told(found)))


def _told(found: dict[str, Any]) -> list[str]:
    seconds, examples = found["seconds"], found["examples"]
    trained, every = found["parameters"]["trained"], found["parameters"]["all"]
    losses = [number(loss) if loss is not None else "not finite" for loss in found["losses"]]
    metrics = [f"{k} {number(v) if v is not None else '-'}" for k, v in found["metrics"].items()]
    per_epoch = number(found["steps_per_epoch"])
    evaluations = plural(found["evaluations"], "evaluation")
    rows: Rows = [
        ("examples", ", ".join(f"{name} {count:,}" for name, count in examples.items())),
        ("updates", f"{found['total_steps']:,}, {per_epoch} to an epoch"),
        ("an update", plural(found["examples_per_update"], "example")),
        (
            "parameters",
            f"{every:,}" if every == trained else f"{every:,}, {trained:,} of them train",
        ),
        ("losses", ", ".join(losses)),
        ("then", ", ".join(metrics) + " on the validation split"),
        ("speed", f"{found['examples_per_second']:,.0f} examples per second on {found['device']}"),
        ("one training", f"about {_time(seconds['full_run'])}, with {evaluations}"),
        ("the budget", f"{number(found['full_runs'])} trainings, about {_time(seconds['budget'])}"),
        ("memory", f"{found['peak_memory_mb']:,.0f} MiB at most"),
        ("two builds", "are the same" if found["repeatable"] else "differ"),
    ]
    warnings = [(f"warning {i}", text) for i, text in enumerate(found["warnings"], start=1)]
    return ["The task can be trained:", *table([*rows, *warnings])]


def _time(seconds: float) -> str:
    for length, unit in ((_DAY, "days"), (_HOUR, "hours"), (_MINUTE, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
