"""Schedules, rules and verdicts in words, for the command line, pictures and reports."""

from typing import Any

from pydantic import ValidationError

from lrtuner.document import AnyDocument, ReactiveDocument, ScheduleDocument, Verdict
from lrtuner.schedules import AnyBody
from lrtuner.schedules.grammar import Schedule

Rows = list[tuple[str, str]]
"""What there is to say, each with its name."""

_MOST_ITEMS = 6

_STATUS = {
    "confirmed": "confirmed",
    "estimated": "estimated (not confirmed)",
    "no_difference_resolved": "no difference resolved",
}


def clean(text: str) -> str:
    """The text on one line, without characters that would steer a terminal or break a file."""
    return "".join(c if c.isprintable() else " " for c in text)


def number(value: float) -> str:
    """A number for people: four digits that count, and whole numbers whole."""
    if abs(value) < 1e12 and value == int(value):
        return str(int(value))
    return f"{value:.1f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def plural(count: float, noun: str) -> str:
    """`1 step`, `2 steps`, `0.5 steps`."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def title(schedule: Schedule | ReactiveDocument) -> str:
    """The schedule, or the rule, in one line."""
    peak = f"peak {number(schedule.peak_lr)}"
    if isinstance(schedule, ReactiveDocument):
        return f"{schedule.body.family} on {schedule.body.monitor}, {peak}"
    parts = [family_name(schedule)]
    if schedule.warmup:
        parts.insert(0, "warmup")
    if schedule.cooldown:
        parts.append("cooldown")
    return f"{' + '.join(parts)}, {peak}, {plural(schedule.total_steps, schedule.unit)}"


def family_name(schedule: Schedule) -> str:
    """The family of the body."""
    return schedule.body.family.replace("_", " ")


def schedule_rows(schedule: Schedule) -> Rows:
    """What the schedule does, phase by phase."""
    return [
        ("warmup", _warmup(schedule)),
        ("peak", number(schedule.peak_lr)),
        ("body", _body(schedule.body)),
        ("cooldown", _cooldown(schedule)),
        *([("floor", _floor(schedule))] if schedule.min_factor else []),
        ("end", _end(schedule)),
    ]


def rule_rows(document: ReactiveDocument) -> Rows:
    """What the rule does, and when."""
    rule, unit = document.body, document.unit
    side, better = ("below", "lower") if rule.mode == "min" else ("above", "higher")
    relative = rule.threshold_mode == "rel"
    margin = f"{number(100 * rule.threshold)} %" if relative else number(rule.threshold)
    by = f"more than {margin} {side}" if rule.threshold else side
    floor = f", never below {number(document.peak_lr * rule.min_factor)}" if rule.min_factor else ""
    return [
        ("peak", f"{number(document.peak_lr)}, the rate at the start"),
        ("watches", f"{rule.monitor}, once per {unit}; {better} is better"),
        ("improves", f"when it is {by} the best value so far"),
        ("reduces", f"the rate to {number(rule.factor)} of what it was{floor}"),
        ("when", _patience(rule.patience, unit)),
        ("cooldown", _not_counted(rule.cooldown, unit)),
    ]


def verdict_rows(verdict: Verdict) -> Rows:
    """The verdict with its interval and its reason."""
    rows = [("verdict", _STATUS[verdict.status])]
    if verdict.difference is not None:
        rows += [("difference", _difference(verdict)), ("interval", _interval(verdict))]
    baseline = baseline_schedule(verdict)
    if baseline:
        rows.append(("against", title(baseline)))
    rows.append(("reason", verdict.reason))
    return rows


def baseline_schedule(verdict: Verdict | None) -> Schedule | None:
    """The schedule that was compared with, if it can be read."""
    if verdict is None or verdict.baseline is None:
        return None
    try:
        return ScheduleDocument.model_validate(verdict.baseline)
    except ValidationError:
        return None  # the config is good without it


def provenance_rows(document: AnyDocument) -> Rows:
    """Where the schedule comes from, what it cost, and what it is for."""
    optimizer, context = document.optimizer, document.context
    provenance = document.provenance if isinstance(document, ScheduleDocument) else None
    rows: Rows = []
    if provenance:
        budget = provenance.budget
        rows += [
            ("cost", f"{number(budget.spent)} of {number(budget.full_runs)} full trainings"),
            ("job", f"{provenance.job_id}, seed {provenance.seed}"),
            ("created", f"{provenance.created_at} by lrtuner {provenance.tool_version}"),
        ]
    if optimizer:
        args = ", ".join(f"{name} {_value(value)}" for name, value in optimizer.args.items())
        rows.append(("optimizer", optimizer.name + (f" ({args})" if args else "")))
        parts = [f"{g.match} {_value(g.lr_ratio)}" for g in optimizer.param_groups]
        if parts:
            rows.append(("param groups", f"at a part of the rate: {', '.join(parts)}"))
    if context:
        epochs = f", {plural(context.epochs, 'epoch')}" if context.epochs else ""
        per_epoch = f"{context.steps_per_epoch} steps per epoch"
        times = f" x {context.grad_accum} accumulated" if context.grad_accum > 1 else ""
        rows.append(("training", f"batch size {context.batch_size}{times}, {per_epoch}{epochs}"))
    return rows


def _body(body: AnyBody) -> str:
    params = body.model_dump(exclude={"family"}, exclude_none=True)
    if not params.get("offset"):
        params.pop("offset", None)
    words = [f"{name} {_value(value)}" for name, value in params.items()]
    family = body.family.replace("_", " ")
    return f"{family} ({', '.join(words)})" if words else family


def _warmup(schedule: Schedule) -> str:
    warmup = schedule.warmup
    if warmup is None:
        return "none"
    length = _length(schedule, warmup.steps)
    return f"{warmup.curve}, {length}, from {number(schedule(0))}"


def _cooldown(schedule: Schedule) -> str:
    cooldown = schedule.cooldown
    if cooldown is None:
        return "none"
    curve = cooldown.curve.replace("_", " ")
    power = f" {number(cooldown.power)}" if cooldown.power is not None else ""
    end = f", to {number(cooldown.end_factor)} of the peak" if cooldown.end_factor else ""
    start = f"from {schedule.unit} {number(cooldown.start)}"
    return f"{curve}{power}, {_length(schedule, cooldown.steps)} {start}{end}"


def _length(schedule: Schedule, length: float) -> str:
    return f"{plural(length, schedule.unit)} ({length / schedule.total_steps:.0%})"


def _floor(schedule: Schedule) -> str:
    floor = schedule.min_factor
    return f"{number(floor * schedule.peak_lr)} after the warmup ({number(floor)} of the peak)"


def _end(schedule: Schedule) -> str:
    if schedule.unit == "second":
        end = schedule.total_steps
        return f"{number(schedule(end))} from second {end} on"
    last = schedule.total_steps - 1
    during = {
        "step": f"at the last update, step {last}",
        "epoch": f"in the last epoch, after {plural(last, 'epoch')}",
    }
    return f"{number(schedule(last))} {during[schedule.unit]}"


def _patience(patience: int, unit: str) -> str:
    if not patience:
        return f"every {unit} that does not improve"
    return f"{plural(patience + 1, unit)} in a row did not improve"


def _not_counted(cooldown: int, unit: str) -> str:
    if not cooldown:
        return "none"
    return f"{plural(cooldown, unit)} after each reduction, not counted"


def _difference(verdict: Verdict) -> str:
    words = f"{verdict.metric} {verdict.difference:+.4g}"
    if verdict.recommended_mean is not None and verdict.baseline_mean is not None:
        means = number(verdict.recommended_mean), number(verdict.baseline_mean)
        words += " (mean {} against {})".format(*means)
    return words


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
        shown = ", ".join(_value(item) for item in value[:_MOST_ITEMS])
        return f"[{shown}]" if len(value) <= _MOST_ITEMS else f"[{shown}, ...] ({len(value)})"
    return number(value) if isinstance(value, float) else str(value)
