"""What was run in a search, what that cost, and where everybody stands."""

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from lrtuner.range_test import centre
from lrtuner.strategy.arms import Array, Ask, Purpose, Result
from lrtuner.strategy.peaks import Drift, nearest
from lrtuner.strategy.problem import Problem
from lrtuner.strategy.proposals import Entrant, Key
from lrtuner.strategy.standing import Standing
from lrtuner.trunks import prefix_tree

T = TypeVar("T")
Asking = Generator[list[Ask], list[Result], T]


@dataclass
class Record:
    """The runs of a search, and what follows from them.

    The first of the `entrants` is the reference, once its peak has been found.
    """

    problem: Problem
    results: list[Result]
    spent: float = 0.0
    over: bool = False
    """Nothing further can be run."""
    drift: Drift = field(default_factory=Drift)
    entrants: list[Entrant] = field(default_factory=list)
    asked: dict[tuple[Key, int], float] = field(default_factory=dict)
    """The peak that an entrant was tried at over a horizon."""
    factors: dict[tuple[str, int], Array] = field(default_factory=dict)

    @property
    def reference(self) -> Entrant:
        """The reference at the best of its peaks."""
        return self.entrants[0]

    def _ask(self, asks: Iterable[Ask], limit: float) -> Asking[list[Result]]:
        """Have the runs made that have not been: all of those that still fit below `limit`."""
        wanted: list[Ask] = []
        for ask in asks if not self.over else ():
            if self._made(ask) or any(ask.key == other.key for other in wanted):
                continue
            if self.spent + self._joint_cost([*wanted, ask]) <= limit + 1e-9:
                wanted.append(ask)
        if not wanted:
            return []
        results = yield wanted
        self.over = len(results) < len(wanted)
        self.results += results
        self.spent += math.fsum(result.cost for result in results)
        return results

    def _joint_cost(self, asks: Sequence[Ask]) -> float:
        """What runs cost that are made together, at most."""
        cost = self.problem.cost
        if not self.problem.shares_trunks:
            return math.fsum(cost(ask.steps) for ask in asks)
        seeds: dict[int, list[Ask]] = {}
        for ask in asks:
            seeds.setdefault(ask.seed, []).append(ask)
        return math.fsum(map(self._shared_cost, seeds.values()))

    def _shared_cost(self, asks: Sequence[Ask]) -> float:
        """Of runs of one seed: what they have in common is trained once, but each is evaluated."""
        alone = math.fsum(self.problem.cost(ask.steps) for ask in asks)
        saved = prefix_tree([self._rates(ask) for ask in asks]).saved
        return alone - saved * self.problem.update_cost

    def _rates(self, ask: Ask) -> Array:
        key = (ask.shape.key, ask.steps)
        if key not in self.factors:
            self.factors[key] = ask.shape.factors(ask.steps)
        return ask.lr * self.factors[key]

    def _made(self, ask: Ask) -> Result | None:
        return next((result for result in self.results if result.ask.key == ask.key), None)

    @property
    def _left(self) -> float:
        return self.problem.budget - self.spent

    def _room(self, steps: int, limit: float) -> int:
        """How many runs fit below `limit`."""
        return 0 if self.over else int((limit - self.spent + 1e-9) / self.problem.cost(steps))

    def _by_peak(self, steps: int) -> dict[float, float]:
        """The log losses of the reference over one horizon, by peak."""
        return {
            r.ask.lr: r.log_loss
            for r in self.results
            if r.ask.shape.key == self.problem.reference.key
            and (r.ask.steps, r.ask.seed) == (steps, 0)
        }

    def _reference_peaks(self) -> dict[int, float]:
        """The best peak of the reference over each horizon that has three or more."""
        found: dict[int, float] = {}
        for steps in {r.ask.steps for r in self.results}:
            losses = self._by_peak(steps)
            best = centre(list(losses.items())) if len(losses) >= 3 else None
            if best is not None:
                found[steps] = best
        return dict(sorted(found.items()))

    def _enter(self, entrants: Iterable[Entrant]) -> None:
        """Let them take part, each once."""
        keys = {entrant.key for entrant in self.entrants}
        self.entrants += [entrant for entrant in entrants if entrant.key not in keys]

    def _made_whole(self, entrant: Entrant) -> bool:
        total = self.problem.total_steps
        lr = self._peak_over(entrant, total)
        return self._made(Ask(entrant.shape, lr, total, 0, "final", entrant.origin)) is not None

    def _entries(self, entrants: Iterable[Entrant], steps: int, purpose: Purpose) -> Iterable[Ask]:
        return (
            self._entry(entrant, steps, purpose)
            for entrant in entrants
            if entrant.shape.peaks(steps) is None or entrant.shape.peaks(steps)
        )

    def _entry(self, entrant: Entrant, steps: int, purpose: Purpose, seed: int = 0) -> Ask:
        lr = self.asked.setdefault((entrant.key, steps), self._peak_over(entrant, steps))
        return Ask(entrant.shape, lr, steps, seed, purpose, entrant.origin)

    def _peak_over(self, entrant: Entrant, steps: int) -> float:
        """The peak at which the entrant was tried over that horizon, or would be."""
        if (entrant.key, steps) in self.asked:
            return self.asked[entrant.key, steps]
        if steps == entrant.steps:
            return entrant.lr
        carried = self.drift.carried(entrant.lr, entrant.steps, steps)
        if entrant.origin != "user":
            low, high = self.problem.bounds
            carried = min(max(carried, low), high)
        lr = nearest(carried, entrant.shape.peaks(steps))
        return entrant.lr if lr is None else lr

    def _standing(self, entrant: Entrant) -> Standing:
        tried = {steps: lr for (key, steps), lr in self.asked.items() if key == entrant.key}
        losses = {
            (r.ask.steps, r.ask.seed): r.log_loss
            for r in self.results
            if r.ask.shape.key == entrant.shape.key and tried.get(r.ask.steps) == r.ask.lr
        }
        if entrant is self.reference and (entrant.steps, 0) not in losses:
            by_peak = self._by_peak(entrant.steps)
            near = nearest(entrant.lr, sorted(by_peak))
            if near is not None:
                losses[entrant.steps, 0] = by_peak[near]
        return Standing(losses)

    def _behind(self, entrant: Entrant) -> float:
        reference = self._standing(self.reference)
        if entrant is self.reference:
            return math.inf if math.inf in reference.losses.values() else 0.0
        return self._standing(entrant).behind(reference, self.problem.total_steps)

    def _ordered(self, steps: int) -> list[Entrant]:
        """The best at that horizon first: without the reference and what diverged anywhere."""
        there = [
            (behind, number)
            for number, entrant in enumerate(self.entrants)
            if number
            and any(s == steps for s, _ in self._standing(entrant).losses)
            and math.isfinite(behind := self._behind(entrant))
        ]
        return [self.entrants[number] for _, number in sorted(there)]
