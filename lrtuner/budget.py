"""What training costs in full-training equivalents (FTE), and how a budget is divided.

1 FTE is one run over the whole horizon. Everything is charged: sweeps, diverged runs, evaluation.
"""

from dataclasses import dataclass

FORWARD_SHARE = 1.0 / 3.0
"""A forward pass beside a whole update: a backward pass costs about two forwards."""

EVALUATION_SHARE = 0.05
"""The most that evaluation along a run may add to its cost."""

RANGE_TEST_SHARE = 0.1
"""The most of a budget that the range test may take."""

PROBE_HORIZONS = (0.5, 0.25)
"""What part of the full horizon a probe trains for: the longest for which enough probes fit.

Over the tasks of `benchmarks.finder` longer probes of one seed say more than shorter ones of two.
"""

LEAST_PROBE_STEPS = 10

LEAST_PROBES = 4
"""So many find the lowest of their losses on most tasks; fewer than fit are not begun."""

CONFIRM_SHARE = 0.5
"""The most of a budget that is kept for confirmation pairs."""

MIN_SEARCH_RUNS = 6
"""Runs that the search gets before anything is kept for what follows it."""

MAX_FINALISTS = 3


def run_cost(updates: int, evaluated: int, batch_size: int, total_steps: int) -> float:
    """The cost in FTE of `updates` optimizer updates and `evaluated` examples seen forward only."""
    return (updates + FORWARD_SHARE * evaluated / batch_size) / total_steps


def evaluation_steps(total_steps: int, batch_size: int, num_validation: int) -> list[int]:
    """After how many updates to evaluate: up to 8 times within the share, the last included."""
    affordable = int(EVALUATION_SHARE * total_steps * batch_size / (FORWARD_SHARE * num_validation))
    count = max(1, min(8, affordable, total_steps))
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


def probe_steps(allowed: float, run: float, total_steps: int) -> int:
    """The updates of each probe, given that a whole run costs `run` FTE; 0 if none are to be made.

    The longest of the horizons for which four probes fit `allowed` FTE, and 10 updates or more.
    """
    for horizon in PROBE_HORIZONS:
        steps = round(horizon * total_steps)
        if LEAST_PROBES * horizon * run <= allowed and steps >= LEAST_PROBE_STEPS:
            return steps
    return 0


@dataclass(frozen=True)
class Plan:
    """How many FTE the search may reach, and how many runs follow it."""

    search_until: float
    finalists: int
    pairs: int


def plan(full_runs: float, spent: float, run: float, asked_pairs: int) -> Plan:
    """Divide what is left after the range test; `run` is the cost of one full run.

    The search gets its first six runs; then come the pairs, up to half of the budget; then a
    finalists' round (up to three candidates and the baseline on one more seed); then more search.
    """
    spare = int((full_runs - spent) / run) - MIN_SEARCH_RUNS
    pairs = max(0, min(asked_pairs, int(CONFIRM_SHARE * full_runs / (2 * run)), spare // 2))
    finalists = max(0, min(MAX_FINALISTS, spare - 2 * pairs - 1))
    reserve = (2 * pairs + (finalists + 1 if finalists else 0)) * run
    return Plan(search_until=full_runs - reserve, finalists=finalists, pairs=pairs)
