"""Candidate schedules: a point of the search space, and the schedule it stands for.

A point is a flat mapping: `family`, the shared `peak_lr` and `warmup_fraction`, and `FAMILY.NAME`
for the family's own parameters, among them `cooldown_fraction` where it does not decay by itself.
One peak for all families keeps what the sampler learns about it in one place.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lrtuner.errors import InvalidInputError
from lrtuner.jsontext import digest
from lrtuner.range_test import Kind
from lrtuner.refine import refined, table
from lrtuner.schedules import FAMILIES, SEARCHED
from lrtuner.schedules.grammar import Cooldown, Schedule, Warmup
from lrtuner.space import Choice, LogUniform, Range

Array = NDArray[np.float64]

WARMUP_FRACTIONS = Choice(values=(0.0, 0.02, 0.05, 0.1, 0.2))
USUAL_WARMUP = 0.05
COOLDOWN_FRACTIONS = Choice(values=(0.0, 0.1, 0.2, 0.4, 0.6, 0.8))


class SearchSpace(BaseModel):
    """What a search may draw from: families, the shared ranges, and each family's own."""

    model_config = ConfigDict(frozen=True)

    families: tuple[str, ...]
    shared: dict[str, Range]
    by_family: dict[str, dict[str, Range]]

    def names(self, family: str) -> dict[str, Range]:
        """All parameters of a point of `family`, `family` itself left out."""
        return {**self.shared, **self.by_family[family]}


def search_space(families: Sequence[str], lr_range: tuple[float, float]) -> SearchSpace:
    """The space over `families` with the peak learning rate in `lr_range` (log-uniform)."""
    low, high = lr_range
    return SearchSpace(
        families=tuple(families),
        shared={"peak_lr": LogUniform(low=low, high=high), "warmup_fraction": WARMUP_FRACTIONS},
        by_family={family: family_space(family) for family in families},
    )


def family_space(family: str) -> dict[str, Range]:
    """The ranges of one family's own parameters, named `FAMILY.NAME`; none if not searched."""
    body = FAMILIES[family]
    if not body.searched:
        return {}
    space: dict[str, Range] = {f"{family}.{name}": r for name, r in body.space.items()}
    if not body.decays_fully:
        space[f"{family}.cooldown_fraction"] = COOLDOWN_FRACTIONS
    return space


def to_schedule(params: Mapping[str, Any], total_steps: int) -> Schedule:
    """The schedule over `total_steps` steps that a point stands for.

    Raises:
        InvalidInputError: the point names no known family or lacks a parameter.
    """
    family = params.get("family")
    if family not in SEARCHED:
        raise InvalidInputError(f"family must be one of {', '.join(SEARCHED)}, got {family!r}")
    missing = family_space(family).keys() - params.keys()
    if missing:
        raise InvalidInputError(f"a {family} candidate needs {', '.join(sorted(missing))}")
    own = {name.partition(".")[2]: value for name, value in params.items() if "." in name}
    fraction = 0.0 if FAMILIES[family].rises else params["warmup_fraction"]
    warmup_steps = float(round(fraction * total_steps))
    cooldown_fraction = own.pop("cooldown_fraction", 0.0)
    return Schedule(
        total_steps=total_steps,
        peak_lr=params["peak_lr"],
        warmup=Warmup(steps=warmup_steps, start_factor=1.0 / (warmup_steps + 1.0))
        if warmup_steps
        else None,
        body=FAMILIES[family].proposed(own, max(total_steps - warmup_steps, 1.0)),
        cooldown=_cooldown(cooldown_fraction, total_steps),
    )


@dataclass(frozen=True)
class PointShape:
    """The schedules of a point of the search space, whatever their peak: see `strategy.Shape`."""

    params: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """The family and a digest of the parameters."""
        return named(self.family, dict(self.params))

    @property
    def family(self) -> str:
        """The point's family."""
        return str(self.params["family"])

    def schedule(self, peak_lr: float, total_steps: int) -> Schedule:
        """The schedule with that peak over that horizon."""
        return to_schedule({**self.params, "peak_lr": peak_lr}, total_steps)

    def factors(self, steps: int) -> Array:
        """The schedule with the peak 1."""
        return self.schedule(1.0, steps).values()

    def peaks(self, steps: int) -> None:
        """Any peak can be tried."""


@dataclass(frozen=True)
class GivenShape:
    """A schedule that comes from no point, stretched to any horizon: see `strategy.Shape`."""

    given: Schedule

    @cached_property
    def key(self) -> str:
        """The family and a digest of the schedule."""
        return named(self.family, {**self.given.document, "peak_lr": None})

    @property
    def family(self) -> str:
        """The family of its body."""
        return self.given.body.family

    def schedule(self, peak_lr: float, total_steps: int) -> Schedule:
        """The schedule with that peak over that horizon."""
        stretched = self.given.rescaled(total_steps)
        return stretched.model_copy(update={"peak_lr": peak_lr})

    def factors(self, steps: int) -> Array:
        """The schedule with the peak 1."""
        return self.schedule(1.0, steps).values()

    def peaks(self, steps: int) -> None:
        """Any peak can be tried."""


@dataclass(frozen=True)
class RefinedShape:
    """What gradient norms suggest: see `lrtuner.refine` and `strategy.Shape`.

    `norms` are means over equal parts of a run, `order` is the exponent that fits their kind.
    """

    norms: tuple[float, ...]
    order: Literal[1, 2]

    family: ClassVar[str] = "table"

    @cached_property
    def key(self) -> str:
        """The family and a digest of the norms."""
        return named(self.family, {"norms": list(self.norms), "order": self.order})

    def schedule(self, peak_lr: float, total_steps: int) -> Schedule:
        """The schedule with that peak over that horizon."""
        body = table(refined(self._norms(total_steps), exponent=self.order))
        return Schedule(total_steps=total_steps, peak_lr=peak_lr, body=body)

    def factors(self, steps: int) -> Array:
        """The schedule with the peak 1."""
        return refined(self._norms(steps), exponent=self.order)

    def peaks(self, steps: int) -> None:
        """Any peak can be tried."""

    def _norms(self, steps: int) -> Array:
        middles = (np.arange(len(self.norms)) + 0.5) / len(self.norms)
        return np.interp((np.arange(steps) + 0.5) / steps, middles, self.norms)


AnyShape = PointShape | GivenShape | RefinedShape

POINTS_PER_FAMILY = 64


def pool(families: Sequence[str]) -> list[PointShape]:
    """Points of each family's space, spread evenly, for the convex bound to choose from.

    All have the usual warmup: what a warmup is good for, the bound does not see. Values are taken
    at the quantiles frac((i + 1) g_k) of a Kronecker sequence, g_k = phi^-k with phi the root of
    x^(d+1) = x + 1 for d dimensions.
    """
    return [PointShape(point) for family in families for point in _spread(family)]


def _spread(family: str) -> Iterator[dict[str, Any]]:
    spans = family_space(family)
    generators = _kronecker(len(spans))
    seen = []
    for i in range(POINTS_PER_FAMILY):
        quantiles = ((i + 1) * g % 1.0 for g in generators)
        values = {n: span.at(u) for (n, span), u in zip(spans.items(), quantiles, strict=True)}
        if values not in seen:
            seen.append(values)
            yield {"family": family, "warmup_fraction": USUAL_WARMUP, **values}


def _kronecker(dimensions: int) -> list[float]:
    phi = 2.0
    for _ in range(50):
        phi = (1.0 + phi) ** (1.0 / (dimensions + 1))
    return [phi ** -(k + 1) for k in range(dimensions)]


def named(family: str, content: dict[str, Any]) -> str:
    """A short name that depends on all of the content."""
    return f"{family}-{digest(content).removeprefix('sha256:')[:10]}"


def linear_to_zero(peak_lr: float, warmup_fraction: float = USUAL_WARMUP) -> dict[str, Any]:
    """The point of warmup and linear decay to zero: the default baseline."""
    return {
        "family": "polynomial",
        "peak_lr": peak_lr,
        "warmup_fraction": warmup_fraction,
        "polynomial.power": 1.0,
        "polynomial.end_factor": 0.0,
    }


def constant(peak_lr: float) -> dict[str, Any]:
    """The point of a constant rate without warmup: what one gets without a schedule."""
    return {
        "family": "constant",
        "peak_lr": peak_lr,
        "warmup_fraction": 0.0,
        "constant.cooldown_fraction": 0.0,
    }


def typical(kind: Kind, peak_lr: float, total_steps: int) -> Schedule:
    """The schedule over `total_steps` (4 or more) that stands for its kind in a probe.

    constant; step: a tenth from the half on, a hundredth from three quarters on; decaying: warmup
    and linear decay to zero; one_cycle: torch's; cyclic: three triangles from a tenth of the peak.
    """
    if kind == "decaying":
        return to_schedule(linear_to_zero(peak_lr), total_steps)
    parts = _TYPICAL[kind]
    return Schedule.model_validate({"total_steps": total_steps, "peak_lr": peak_lr, **parts})


_TYPICAL: dict[Kind, dict[str, Any]] = {
    "constant": {"body": {"family": "constant"}},
    "step": {"body": {"family": "multistep", "milestones": ["50%", "75%"], "factors": [0.1, 0.01]}},
    "one_cycle": {"preset": {"name": "one_cycle"}},
    "cyclic": {"body": {"family": "cyclic", "up": f"{100 / 6}%", "base_factor": 0.1}},
}


def _cooldown(fraction: float, total_steps: int) -> Cooldown | None:
    steps = float(round(fraction * total_steps))
    if not steps:
        return None
    return Cooldown(start=total_steps - steps, steps=steps, end_factor=0.0, curve="linear")
