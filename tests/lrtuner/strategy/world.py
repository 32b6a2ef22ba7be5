"""A world whose losses are known: what a search in it should find, and what it was asked."""

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from lrtuner.bound import bound
from lrtuner.strategy import Ask, Outcome, Problem, Result, Shape, tune
from lrtuner.strategy.peaks import USUAL_DRIFT
from lrtuner.trunks import prefix_tree

TOTAL = 400
HORIZONS = (100, 200, 400)


@dataclass(frozen=True)
class Toy:
    """A constant rate, then a decay to zero: over the last `cooldown` of the run, to the `power`.

    `tried` are the peaks that were tried, where there is a record; any can be where it is None.
    """

    cooldown: float
    power: float = 1.0
    tried: tuple[float, ...] | None = None

    @property
    def key(self) -> str:
        return f"{self.cooldown:g}^{self.power:g}"

    @property
    def family(self) -> str:
        return f"power {self.power:g}"

    def factors(self, steps: int) -> Any:
        left = 1.0 - np.arange(steps) / steps
        return np.minimum(1.0, left / self.cooldown) ** self.power

    def peaks(self, steps: int) -> tuple[float, ...] | None:
        return self.tried


LINEAR = Toy(1.0)
SHAPES = [Toy(f, p) for p in (0.5, 1.0, 2.0) for f in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)]
BEST = Toy(0.6)


@cache
def best_gamma(cooldown: float, power: float) -> float:
    return bound(Toy(cooldown, power).factors(TOTAL)).best_gamma


def off_the_best(shape: Shape) -> float:
    """How much worse a shape is than `BEST` at its own best peak."""
    assert isinstance(shape, Toy)
    return 0.3 * (shape.cooldown - BEST.cooldown) ** 2 + 0.05 * abs(shape.power - BEST.power)


@dataclass(frozen=True)
class World:
    """The losses of all runs: shapes differ by `merit`, and each has its own best peak.

    `best_lr` is that of linear decay over the shortest horizon; over longer ones it is lower by
    `alpha`. A run over fewer steps ends higher. `cliff` times the best peak
    diverges. The runs of one seed have the `common` noise in common and `noise` for themselves.
    """

    best_lr: float = 0.14
    alpha: float = USUAL_DRIFT
    merit: Callable[[Shape], float] = off_the_best
    cliff: float = math.inf
    common: float = 0.0
    noise: float = 0.0
    norms: Sequence[float] | None = None

    def best_peak(self, shape: Shape, steps: int = TOTAL) -> float:
        assert isinstance(shape, Toy)
        own = best_gamma(shape.cooldown, shape.power) / best_gamma(1.0, 1.0)
        return float(self.best_lr * own * (steps / HORIZONS[0]) ** -self.alpha)

    def loss(self, ask: Ask) -> float:
        off = math.log(ask.lr / self.best_peak(ask.shape, ask.steps))
        if off > math.log(self.cliff):
            return math.inf
        luck = self.common * _normal(ask.seed)
        luck += self.noise * _normal(ask.seed, ask.shape.key, ask.lr, ask.steps)
        return math.exp(self.merit(ask.shape) + 0.1 * off**2 + 0.5 * TOTAL / ask.steps + luck)

    def result(self, ask: Ask) -> Result:
        return Result(ask, self.loss(ask), cost(ask.steps), self.norms)

    def results(self, asks: Sequence[Ask]) -> list[Result]:
        """Of runs that are made together: what they have in common is charged to the first."""
        return [
            replace(self.result(ask), cost=own)
            for ask, own in zip(asks, shared_costs(asks), strict=True)
        ]

    def known(self, *peaks: float, steps: int = 100, shape: Shape = LINEAR) -> list[Result]:
        """The reference at these peaks, as from before the search."""
        return [
            self.result(Ask(shape, lr, steps, 0, "peak", "reference")) for lr in peaks or AROUND
        ]


AROUND = (0.06, 0.2, 0.6)
"""Peaks on both sides of the best of the reference over 100 steps."""


def _normal(*parts: object) -> float:
    seed = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])
    return random.Random(seed).gauss(0.0, 1.0)


EVALUATION = 0.03
"""What evaluation adds to the cost of a run."""


def cost(steps: int) -> float:
    return (1.0 + EVALUATION) * steps / TOTAL


def shared_costs(asks: Sequence[Ask]) -> list[float]:
    """What each adds to the cost of those before it; evaluations are not shared."""
    rates = [ask.lr * ask.shape.factors(ask.steps) for ask in asks]
    costs = []
    for i, ask in enumerate(asks):
        before = [r for r, other in zip(rates[:i], asks, strict=False) if other.seed == ask.seed]
        trained = prefix_tree(before).updates if before else 0
        updates = prefix_tree([*before, rates[i]]).updates - trained
        costs.append((updates + EVALUATION * ask.steps) / TOTAL)
    return costs


def problem(budget: float, **changes: Any) -> Problem:
    plain = Problem(
        horizons=HORIZONS,
        reference=LINEAR,
        start_lr=0.15,
        bounds=(1e-4, 10.0),
        shapes=SHAPES,
        cost=cost,
        budget=budget,
        update_cost=1 / TOTAL,
    )
    return replace(plain, **changes)


@dataclass
class Searched:
    """A search that has ended: what it found, and what it asked for in each generation."""

    outcome: Outcome | None
    generations: list[list[Ask]] = field(default_factory=list)

    @property
    def asks(self) -> list[Ask]:
        return [ask for generation in self.generations for ask in generation]

    @property
    def purposes(self) -> list[str]:
        """In the order of their first appearance."""
        return list(dict.fromkeys(ask.purpose for ask in self.asks))

    def of(self, *purposes: str) -> list[Ask]:
        return [ask for ask in self.asks if ask.purpose in purposes]


def search(
    problem: Problem,
    world: World,
    known: Sequence[Result] = (),
    answer: Callable[[list[Ask]], list[Result]] | None = None,
) -> Searched:
    """Drive the search through the world, or through what `answer` makes of its questions."""
    tuning = tune(problem, known)
    generations: list[list[Ask]] = []
    results: list[Result] | None = None
    while True:
        try:
            asks = tuning.send(results) if results is not None else next(tuning)
        except StopIteration as ended:
            return Searched(ended.value, generations)
        generations.append(asks)
        results = answer(asks) if answer else world.results(asks)


def sampled(results: Sequence[Result], steps: int, count: int) -> list[tuple[Shape, float]]:
    """A sampler that depends on all that it is told, as a real one does."""
    seed = repr([(r.ask.shape.key, r.ask.lr, r.ask.steps, r.loss) for r in results])
    rng = random.Random(seed + repr((steps, count)))
    return [
        (Toy(round(rng.uniform(0.1, 1.0), 3), rng.choice([0.5, 1.0, 2.0])), rng.uniform(0.05, 0.5))
        for _ in range(count)
    ]


def derived(result: Result) -> list[Shape]:
    """Stands for a refinement: a shape that no other list holds."""
    assert isinstance(result.ask.shape, Toy)
    return [Toy(result.ask.shape.cooldown, 1.5)]


def everything(budget: float, **changes: Any) -> Problem:
    """A problem with all that one may have."""
    parts: dict[str, Any] = {
        "given": [(Toy(0.3, 3.0), 0.07)],
        "usual_lrs": (0.01, 0.1),
        "sampler": sampled,
        "derive": derived,
    }
    return problem(budget, **(parts | changes))
