"""The tables: all finders over all tasks, each task under each schedule, and the truth itself."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.finder.scoring import Curve, Found, drifts, scatters, score
from benchmarks.finder.tasks import REFERENCE

Rows = Mapping[str, Sequence[Found]]
Truth = Mapping[str, Mapping[str, Curve]]


def tables(
    rows: Rows,
    truth: Truth,
    instead: Mapping[str, float],
    times: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> str:
    """Everything as Markdown."""
    reference = [task for task in truth if task in REFERENCE]
    harder = [task for task in truth if task not in REFERENCE]
    parts = ["## The grid", _grid(truth)]
    for title, tasks in (("reference", reference), ("harder", harder), ("all", list(truth))):
        if tasks:
            parts += [f"## Finders, {title} tasks ({len(tasks)})"]
            parts += [_summary(_only(rows, tasks), truth, instead)]
    for schedule in _schedules(truth):
        parts += [f"## Regret by task, {schedule}", _by_task(rows, truth, instead, schedule)]
    parts += ["## Seconds per update over a bare loop's", _times(times)]
    return "\n\n".join(parts)


def _grid(truth: Truth) -> str:
    lines = []
    for task, curves in truth.items():
        cells = [_name(task)]
        for curve in curves.values():
            low, high = curve.plateau()
            cells += [f"{curve.best_lr:.2g} ({min(curve.losses):.3g})", f"{low:.2g} - {high:.2g}"]
        lines.append(cells)
    head = ["best rate (test loss), within 25 %"]
    for schedule in _schedules(truth):
        head += [schedule, ""]
    return table(head, lines)


def _summary(rows: Rows, truth: Truth, instead: Mapping[str, float]) -> str:
    lines = []
    for finder, found in rows.items():
        scores = [score(found, truth, instead, schedule) for schedule in _schedules(truth)]
        silent = sum(None in one.rates.values() for one in found)
        lines.append(
            [
                finder,
                *(f"{one.regret:.2f} / {one.worst:.1f}" for one in scores),
                _largest(drifts(found).values()),
                _largest(scatters(found).values()),
                f"{silent / len(found):.0%}",
                f"{statistics.median(one.cost for one in found):.2g}",
            ]
        )
    told = [f"{schedule}: regret / worst" for schedule in _schedules(truth)]
    decades = "decades, median / largest"
    head = ["", *told, f"drift, {decades}", f"scatter, {decades}", "silent", "cost"]
    return table(head, lines)


def _by_task(rows: Rows, truth: Truth, instead: Mapping[str, float], schedule: str) -> str:
    lines = []
    for finder, found in rows.items():
        cells = [finder]
        for task in truth:
            one = score([f for f in found if f.task == task], truth, instead, schedule)
            cells.append(f"{one.regret:.2f} / {one.worst:.1f}")
        lines.append(cells)
    return table(["regret / worst", *map(_name, truth)], lines)


def _times(times: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    lines = []
    for finder, by_task in times.items():
        ratios = {task: time["ratio"] for task, time in by_task.items()}
        median = statistics.median(ratios.values())
        lines.append([finder, f"{median:.2f}", *(f"{ratio:.2f}" for ratio in ratios.values())])
    return table(["", "median", *map(_name, next(iter(times.values())))], lines)


def _only(rows: Rows, tasks: Sequence[str]) -> Rows:
    return {name: [one for one in found if one.task in tasks] for name, found in rows.items()}


def _largest(values: Iterable[float]) -> str:
    numbers = list(values)
    return f"{statistics.median(numbers):.2f} / {max(numbers):.2f}" if numbers else "-"


def _schedules(truth: Truth) -> list[str]:
    return list(next(iter(truth.values())))


def _name(task: str) -> str:
    """A job file by the end of its path."""
    return task.rsplit("/", 1)[-1]


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table with columns of even width."""
    rows = [list(head), *map(list, lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    )
