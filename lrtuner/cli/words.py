"""Schedules and verdicts in words."""

import textwrap
from typing import Any

from pydantic import ValidationError

from lrtuner.cli.output import clean, number, plural
from lrtuner.document import ScheduleDocument, Verdict
from lrtuner.schedules.grammar import Schedule

LINE_WIDTH = 80

Rows = list[tuple[str, str]]

_STATUS = {
    "confirmed": "confirmed",
    "estimated": "estimated (not confirmed)",
    "no_difference_resolved": "no difference resolved",
}


def schedule_rows(schedule: Schedule) -> Rows:
    """What the schedule does, phase by phase."""
    last = schedule.total_steps - 1
    return [
        ("warmup", _warmup(schedule)),
        ("peak", number(schedule.peak_lr)),
        ("body", body_words(schedule)),
        ("cooldown", _cooldown(schedule)),
        ("end", f"{number(schedule(last))} at the last update, step {last}"),
    ]


def body_words(schedule: Schedule) -> str:
    """The family and its parameters."""
    body = schedule.body
    params = body.model_dump(exclude={"family"}, exclude_none=True)
    if not params.get("offset"):
        params.pop("offset", None)
    words = [f"{name} {_value(value)}" for name, value in params.items()]
    family = body.family.replace("_", " ")
    return f"{family} ({', '.join(words)})" if words else family


def title(schedule: Schedule) -> str:
    """The schedule in one line."""
    parts = [schedule.body.family.replace("_", " ")]
    if schedule.warmup:
        parts.insert(0, "warmup")
    if schedule.cooldown:
        parts.append("cooldown")
    steps = plural(schedule.total_steps, "step")
    return f"{' + '.join(parts)}, peak {number(schedule.peak_lr)}, {steps}"


def verdict_rows(verdict: Verdict) -> Rows:
    """The verdict with its interval and its reason."""
    rows = [("verdict", _STATUS[verdict.status])]
    if verdict.difference is not None:
        rows += [("difference", _difference(verdict)), ("interval", _interval(verdict))]
    baseline = baseline_schedule(verdict)
    if baseline:
        rows.append(("against", title(baseline)))
    rows.append(("reason", clean(verdict.reason)))
    return rows


def baseline_schedule(verdict: Verdict | None) -> Schedule | None:
    """The schedule that was compared with, if it can be read."""
    if verdict is None or verdict.baseline is None:
        return None
    try:
        return ScheduleDocument.model_validate(verdict.baseline)
    except ValidationError:
        return None  # the config is good without it


def provenance_rows(schedule: ScheduleDocument) -> Rows:
    """Where the schedule comes from and what it cost."""
    provenance, optimizer, context = schedule.provenance, schedule.optimizer, schedule.context
    rows: Rows = []
    if provenance:
        budget = provenance.budget
        rows += [
            ("cost", f"{number(budget.spent)} of {number(budget.full_runs)} full trainings"),
            ("job", f"{provenance.job_id}, seed {provenance.seed}"),
            ("created", f"{clean(provenance.created_at)} by lrtuner {provenance.tool_version}"),
        ]
    if optimizer:
        args = ", ".join(f"{clean(k)} {clean(_value(v))}" for k, v in optimizer.args.items())
        rows.append(("optimizer", clean(optimizer.name) + (f" ({args})" if args else "")))
    if context:
        epochs = f", {plural(context.epochs, 'epoch')}" if context.epochs else ""
        per_epoch = f"{context.steps_per_epoch} steps per epoch"
        rows.append(("training", f"batch size {context.batch_size}, {per_epoch}{epochs}"))
    return rows


def table(rows: Rows, indent: str = "  ") -> list[str]:
    """The rows as lines of at most 80 characters, the second column aligned."""
    width = max((len(name) for name, _ in rows), default=0)
    lines: list[str] = []
    for name, text in rows:
        first = f"{indent}{name:<{width}}  "
        lines += textwrap.wrap(
            text,
            LINE_WIDTH,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_long_words=False,  # URLs and ids are copied from here
            break_on_hyphens=False,
        )
    return lines


def _warmup(schedule: Schedule) -> str:
    warmup = schedule.warmup
    if warmup is None:
        return "none"
    share = warmup.steps / schedule.total_steps
    return f"{warmup.curve}, {number(warmup.steps)} steps ({share:.0%}), from {number(schedule(0))}"


def _cooldown(schedule: Schedule) -> str:
    cooldown = schedule.cooldown
    if cooldown is None:
        return "none"
    share = cooldown.steps / schedule.total_steps
    curve = cooldown.curve.replace("_", " ")
    return (
        f"{curve}, {number(cooldown.steps)} steps ({share:.0%}) from step {number(cooldown.start)}"
    )


def _difference(verdict: Verdict) -> str:
    words = f"{verdict.metric} {verdict.difference:+.4g}"
    if verdict.recommended_mean is not None and verdict.baseline_mean is not None:
        means = number(verdict.recommended_mean), number(verdict.baseline_mean)
        words += " (mean {} against {})".format(*means)
    return clean(words)


def _interval(verdict: Verdict) -> str:
    words = []
    if verdict.ci95:
        low, high = verdict.ci95
        words.append(f"95 % [{low:+.4g}, {high:+.4g}]")
    if verdict.p_value is not None:
        words.append(f"p = {number(verdict.p_value)}")
    return ", ".join([*words, plural(verdict.pairs, "pair")])


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return number(value) if isinstance(value, float) else str(value)
