"""Our search choosing among recorded runs of others, beside Optuna's and random search.

    python -m benchmarks.replay --data FOLDER --target-steps N [--budgets 3 5 8]
                                [--repetitions 100] [--json FILE]

FOLDER holds `runs.csv` and `curves.csv` (`benchmarks.replay.reading` says what is in them). What is
chosen is a schedule with its peak, of those that were run over the N target steps. Ours may look at
shorter runs of the folder too, each charged its steps; the others (`benchmarks.replay.peers` says
how they are set) look at runs over the target horizon, and where they prune or halve, at the loss
along them. 1 FTE is N steps, and a budget is in FTE.

The regret of a choice is its final loss minus the lowest there is, in mnats (0.001), over
repetitions that differ in the seed.
"""

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.finder.report import table as markdown
from benchmarks.replay.ours import ours
from benchmarks.replay.peers import PEERS, Strategy
from benchmarks.replay.reading import read
from benchmarks.replay.table import Table
from lrtuner.errors import InvalidInputError

STRATEGIES: dict[str, Strategy] = {**PEERS, "ours": ours}

LEAST_REGRET = 1e-9
"""In mnats: below it, a choice is the exact best."""


@dataclass(frozen=True)
class Outcome:
    """What one strategy chose with one budget: an entry a repetition, regrets in mnats."""

    regrets: Sequence[float]
    spent: Sequence[float]
    chosen: Sequence[str]

    @property
    def regret(self) -> float:
        """The mean."""
        return statistics.fmean(self.regrets)

    @property
    def error(self) -> float:
        """The standard error of the mean regret; NaN of a single one."""
        count = len(self.regrets)
        return statistics.stdev(self.regrets) / math.sqrt(count) if count > 1 else math.nan

    @property
    def exact(self) -> float:
        """How often the best there is was chosen."""
        return statistics.fmean(regret <= LEAST_REGRET for regret in self.regrets)


Outcomes = Mapping[str, Outcome]


def main() -> None:
    """Replay, print the tables, and write everything where asked."""
    parser = _parser()
    asked = parser.parse_args()
    try:
        table = read(asked.data, asked.target_steps)
    except InvalidInputError as error:
        parser.error(str(error))
    most = f"{len(table.arms)} schedules over {table.target} steps"
    print(f"{most}; recorded horizons: {', '.join(map(str, table.horizons))}\n")
    replayed = {}
    for budget in asked.budgets:
        replayed[budget] = {
            name: outcome(table, strategy, budget, asked.repetitions)
            for name, strategy in STRATEGIES.items()
        }
        print(told(budget, replayed[budget]), flush=True)
    if asked.json:
        data = {
            f"{budget:g}": {name: asdict(one) for name, one in outcomes.items()}
            for budget, outcomes in replayed.items()
        }
        asked.json.write_text(json.dumps(data, indent=1) + "\n")


def outcome(table: Table, strategy: Strategy, budget: float, repetitions: int) -> Outcome:
    """Let a strategy choose again and again."""
    choices = [strategy(table, budget, seed) for seed in range(repetitions)]
    return Outcome(
        regrets=[table.regret(choice.arm) for choice in choices],
        spent=[choice.spent for choice in choices],
        chosen=[table.run(choice.arm).name for choice in choices],
    )


def told(budget: float, outcomes: Outcomes) -> str:
    """One budget's table, and the ratio of ours to the best of the others."""
    lines = [
        [
            name,
            f"{one.regret:.2f} ± {one.error:.2f}",
            f"{one.exact:.0%}",
            f"{statistics.fmean(one.spent):.2f}",
        ]
        for name, one in outcomes.items()
    ]
    head = ["", "regret, mnats", "exact best", "FTE spent"]
    return f"## Budget {budget:g}\n\n{markdown(head, lines)}\n\n{comparison(outcomes)}\n"


def comparison(outcomes: Outcomes) -> str:
    """Ours against the peer with the lowest mean regret, which is chosen in hindsight."""
    best = min(PEERS, key=lambda name: outcomes[name].regret)
    mine, theirs = outcomes["ours"].regret, outcomes[best].regret
    ratio = f"{mine / theirs:.2f}" if theirs > 0 else "none: that has no regret"
    return f"Mean regret of ours / of {best}, the best of the others: {ratio}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FOLDER", help="the recorded runs")
    add("--target-steps", type=int, required=True, metavar="N", help="the horizon to choose for")
    add(
        "--budgets",
        type=_budget,
        nargs="+",
        default=[3.0, 5.0, 8.0],
        metavar="B",
        help="in full-training equivalents, each 1 or more (3 5 8)",
    )
    add("--repetitions", type=_count, default=100, metavar="N", help="of each strategy (100)")
    add("--json", type=Path, metavar="FILE", help="write all choices to this file")
    return parser


def _budget(text: str) -> float:
    budget = float(text)
    if not 1.0 <= budget < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: it must be 1 or more")
    return budget


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text}: it must be 1 or more")
    return count


if __name__ == "__main__":
    main()
