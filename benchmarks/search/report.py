"""The tables: the oracle, each task, all tasks together, and ours against the best of the peers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.finder.report import table
from benchmarks.search.oracle import Oracle
from benchmarks.search.scoring import (
    OURS,
    Fresh,
    Picked,
    Row,
    best_peer,
    difference,
    over_tasks,
    regrets,
    rows,
)


@dataclass(frozen=True)
class Judged:
    """A task with its oracle, what that cost in FTE and ended with, and everybody's picks."""

    task: str
    oracle: Oracle
    oracle_cost: float
    fresh: Fresh
    picked: Sequence[Picked]

    @property
    def rows(self) -> dict[str, Row]:
        """Each search's row, in the order in which they were asked for."""
        return rows(self.picked, self.fresh)


def tables(judged: Sequence[Judged], budget: float) -> str:
    """Everything as Markdown."""
    parts = ["## The oracle", _oracles(judged)]
    if judged[0].picked:
        for one in judged:
            parts += [f"## {_name(one.task)}, budget {budget:g}", _searches(one.rows)]
        together = over_tasks([one.rows for one in judged])
        parts += [f"## All tasks ({len(judged)}), budget {budget:g}", _together(together)]
        if OURS in together and len(together) > 1:
            parts += _comparison(judged, together)
    return "\n\n".join(parts)


def _oracles(judged: Sequence[Judged]) -> str:
    head = ["task", "shape", "peak", "val loss", "test loss", "trainings", "FTE"]
    return table(
        head,
        [
            [
                _name(one.task),
                one.oracle.shape,
                f"{one.oracle.peak:.3g}",
                f"{_mean(one.fresh.val_losses):.4g}",
                f"{_mean(one.fresh.test_losses):.4g}",
                str(one.oracle.num_trainings),
                f"{one.oracle_cost:.0f}",
            ]
            for one in judged
        ],
    )


def _searches(rows: Mapping[str, Row]) -> str:
    lines = [
        [name, _regret(row), f"{row.rank:.2f}", f"{row.spent:.2f}"]
        + [f"{loss:.4g}" for loss in (row.val_loss, row.test_loss)]
        for name, row in rows.items()
    ]
    return table(["", "regret", "rank", "FTE spent", "val loss", "test loss"], lines)


def _together(rows: Mapping[str, Row]) -> str:
    lines = [
        [name, _regret(row), f"{row.rank:.2f}", f"{row.spent:.2f}"] for name, row in rows.items()
    ]
    return table(["", "regret", "rank", "FTE spent"], lines)


def _comparison(judged: Sequence[Judged], together: Mapping[str, Row]) -> list[str]:
    overall = best_peer(together)
    lines = []
    for one in judged:
        found = regrets(one.picked, one.fresh)
        own = best_peer(one.rows)
        lines.append([_name(one.task), against(found, overall), own, against(found, own)])
    head = ["task", f"ours - {overall}", "the task's best", "ours - that"]
    share = max(one.rows[OURS].spent / one.oracle_cost for one in judged)
    return [
        "## Ours against the best peer",
        f"Mean regret of ours / of {overall}, the best of the peers: "
        f"{ratio(together[OURS].regret, together[overall].regret)}. "
        f"Ours cost at most {share:.1%} of the oracle's grid.",
        table(head, lines),
    ]


def ratio(ours: float, theirs: float) -> str:
    """Of two mean regrets; none where theirs is not above 0."""
    return f"{ours / theirs:.2f}" if theirs > 0 else f"- ({ours:.4f} / {theirs:.4f})"


def against(found: Mapping[str, Mapping[int, float]], peer: str) -> str:
    """The mean difference of regrets, its 95 % interval, and which is better beyond noise."""
    stats = difference(found, peer)
    if stats.ci95 is None:
        return f"{stats.mean:+.3f}"
    low, high = stats.ci95
    judged = "worse" if low > 0 else "better" if high < 0 else "no difference"
    return f"{stats.mean:+.3f} [{low:+.3f}, {high:+.3f}] {judged}"


def _regret(row: Row) -> str:
    return f"{row.regret:.4f}" if math.isnan(row.error) else f"{row.regret:.4f} ± {row.error:.4f}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _name(task: str) -> str:
    """A job file by the end of its path."""
    return task.rsplit("/", 1)[-1]
