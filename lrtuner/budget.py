"""What training costs in full-training equivalents (FTE), and how a budget is divided.

1 FTE is one run over the whole horizon. Everything is charged: sweeps, diverged runs, evaluation.
"""

from collections.abc import Callable
from dataclasses import dataclass

FORWARD_SHARE = 1.0 / 3.0
"""A forward pass beside a whole update: a backward pass costs about two forwards."""

EVALUATION_SHARE = 0.05
"""The most that evaluation along a run may add to its cost."""

MAX_EVALUATIONS = 8

TARGET_EVALUATION_SHARE = 0.2
"""The same for a run to a target, which saves more where it ends early."""

MAX_TARGET_EVALUATIONS = 40
"""A run to a target ends at an evaluation, so its length is known to 1 / 40 of the horizon."""

SWEEP_SHARE = 0.05
"""The most of a search's budget that the sweeps of its range test may take."""

PROBE_SHARE = 0.35
"""The most of it that probes may take: the first runs of the search, and the most telling."""

FURTHER_PROBE_SHARE = 0.1
"""Kinds other than the first are probed while the range test has cost less than this."""

PROBE_HORIZONS = (0.5, 0.25)
"""What part of the full horizon a probe trains for: the longest for which enough probes fit.

Over the tasks of `benchmarks.finder` longer probes of one seed say more than shorter ones of two.
"""

LEAST_PROBE_STEPS = 10

LEAST_PROBES = 4
"""So many find the lowest of their losses on most tasks; fewer than fit are not begun."""

SEARCH_FIRST = 8.0
"""So many full runs go to the search before any are kept to confirm what it finds."""

RUNGS = (0.25, 0.5, 1.0)
"""The parts of the full horizon that schedules are compressed to. Below a quarter, what is best
over the whole cannot be told from what diverges."""


def run_cost(updates: int, evaluated: int, batch_size: int, total_steps: int) -> float:
    """The cost in FTE of `updates` optimizer updates and `evaluated` examples seen forward only."""
    return (updates + FORWARD_SHARE * evaluated / batch_size) / total_steps


def evaluation_steps(
    total_steps: int, batch_size: int, evaluated: int, *, to_target: bool = False
) -> list[int]:
    """After how many updates to evaluate, at equal distances: the last included.

    Up to 8 times and 5 % of the run's cost, in a run to a target 40 times and 20 %, but at least
    once. `evaluated` is the number of examples that each evaluation sees.
    """
    most, share = (
        (MAX_TARGET_EVALUATIONS, TARGET_EVALUATION_SHARE)
        if to_target
        else (MAX_EVALUATIONS, EVALUATION_SHARE)
    )
    affordable = int(share * total_steps * batch_size / (FORWARD_SHARE * evaluated))
    count = max(1, min(most, affordable, total_steps))
    return sorted({round(total_steps * (i + 1) / count) for i in range(count)})


def sweep_size(
    allowed: float, total_steps: int, num_seeds: int, num_steps: int, least: int
) -> tuple[int, int]:
    """Sweeps and steps of each that fit `allowed` FTE: (0, 0) when not even one does.

    Shorter sweeps come before fewer; a sweep of fewer than `least` steps says nothing.
    """
    affordable = int(allowed * total_steps)
    seeds = min(num_seeds, affordable // least)
    return (seeds, min(num_steps, affordable // seeds)) if seeds else (0, 0)


def probe_steps(allowed: float, cost: Callable[[int], float], total_steps: int) -> int:
    """The updates of each probe; 0 if none are to be made.

    The longest of the horizons for which four probes fit `allowed` FTE, and 10 updates or more;
    `cost` says what a run of so many updates costs.
    """
    for horizon in PROBE_HORIZONS:
        steps = round(horizon * total_steps)
        if steps >= LEAST_PROBE_STEPS and LEAST_PROBES * cost(steps) <= allowed:
            return steps
    return 0


def horizons(total_steps: int, *, compressible: bool = True) -> tuple[int, ...]:
    """The numbers of updates to train for, ascending; the last is `total_steps`."""
    if not compressible:
        return (total_steps,)
    shorter = {round(part * total_steps) for part in RUNGS[:-1]}
    return (*sorted(n for n in shorter if LEAST_PROBE_STEPS <= n < total_steps), total_steps)


@dataclass(frozen=True)
class Plan:
    """How many FTE range test and search may reach together, and how many pairs follow them."""

    search: float
    pairs: int


def plan(full_runs: float, run: float, asked_pairs: int, kept: float = 0.0) -> Plan:
    """Divide the budget; `run` is the cost in FTE of one of the longest runs.

    What comparisons cost is `kept`; the search gets eight runs; then come the pairs; what is left
    goes to the search.
    """
    spare = full_runs - kept - SEARCH_FIRST * run
    pairs = max(0, min(asked_pairs, int(spare / (2 * run) + 1e-9)))
    return Plan(search=full_runs - kept - 2 * pairs * run, pairs=pairs)
