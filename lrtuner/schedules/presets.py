"""Well-known schedules by name, written out in the grammar before anything is stored.

A preset is a model of its arguments with `parts`, which gives the warmup, body and cooldown over a
horizon of T (in the schedule's unit). A new preset is one class and its name in `AnyPreset`.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from lrtuner.schedules._base import HAIR, SHORTEST, Factor, Length
from lrtuner.schedules.cosine_restarts import TMult
from lrtuner.schedules.curves import CooldownCurve, Power, check_power
from lrtuner.schedules.relative import Scale, resolved
from lrtuner.strict import Strict, does_not_fit

Parts = dict[str, Any]

Share = Annotated[float, Field(ge=1e-4, le=0.9999, description="A share of the horizon.")]
Divisor = Annotated[float, Field(ge=1, le=1e12)]
Rate = Annotated[float, Field(ge=0, le=1e6)]
_LONG_WARMUP = 0.45
"""Above this share of the run, Ranger21 replaces its warmup by a shorter one."""

Span = Annotated[float, Field(ge=0, le=1e9, description="A length in the unit; 0 is none.")]


class Preset(Strict, ABC):
    """The arguments of a preset."""

    lengths: ClassVar[tuple[str, ...]] = ()
    """The arguments that are lengths in the unit."""

    @abstractmethod
    def parts(self, total: float, peak_lr: float | None) -> Parts:
        """The fields of the schedule that the preset stands for."""


class Linear(Preset):
    """Linear decay to `end_factor` over the whole run, after a linear warmup if there is one."""

    name: Literal["linear"] = "linear"
    warmup_steps: Span = 0.0
    end_factor: Factor = 0.0

    lengths: ClassVar[tuple[str, ...]] = ("warmup_steps",)

    def parts(self, total: float, peak_lr: float | None) -> Parts:  # noqa: ARG002
        decay_steps = total - self.warmup_steps
        if decay_steps < SHORTEST:
            raise _too_long("warmup_steps", self.warmup_steps, total)
        body = {"family": "polynomial", "decay_steps": decay_steps, "end_factor": self.end_factor}
        return {"warmup": _warmup(self.warmup_steps), "body": body}


class OneCycle(Preset):
    """The 1cycle policy (Smith and Topin 2018, arXiv 1708.07120) in the convention of torch.

    Up from 1/`div_factor` to the peak at pct_start T - 1, then down to
    1/(div_factor final_div_factor) at T - 1; with `three_phase` first down as it came up, then on.
    Momentum is not cycled. torch: `OneCycleLR(cycle_momentum=False)`.
    """

    name: Literal["one_cycle"] = "one_cycle"
    pct_start: Share = 0.3
    div_factor: Divisor = 25.0
    final_div_factor: Divisor = 1e4
    three_phase: bool = False
    anneal: Literal["cosine", "linear"] = "cosine"

    def parts(self, total: float, peak_lr: float | None) -> Parts:  # noqa: ARG002
        up = self.pct_start * total - 1.0
        down = total - 1.0 - up
        if up < SHORTEST:
            raise does_not_fit(
                "pct_start", f"{self.pct_start} of {total:g}: it must be more than 1"
            )
        start = 1.0 / self.div_factor
        end = start / self.final_div_factor
        warmup = {"steps": up, "start_factor": start, "curve": self.anneal}
        if not self.three_phase:
            return {"warmup": warmup, "body": self._body(down, end)}
        if down - up < SHORTEST:
            raise does_not_fit(
                "pct_start", f"{self.pct_start}: two phases of it leave nothing for the third"
            )
        cooldown = {"start": 2.0 * up, "steps": down - up, "end_factor": end, "curve": self.anneal}
        return {"warmup": warmup, "body": self._body(up, start), "cooldown": cooldown}

    def _body(self, steps: float, end_factor: float) -> Parts:
        family = "cosine" if self.anneal == "cosine" else "polynomial"
        return {"family": family, "decay_steps": steps, "end_factor": end_factor}


class WSD(Preset):
    """Warmup, stable, decay (Hu et al. 2024, arXiv 2404.06395): constant, then a cooldown.

    The cooldown takes `cooldown_steps`, or a fifth of the run if that is left out.
    """

    name: Literal["wsd"] = "wsd"
    warmup_steps: Span = 0.0
    cooldown_steps: Length | None = None
    end_factor: Factor = 0.0
    curve: CooldownCurve = "linear"
    power: Power | None = None

    lengths: ClassVar[tuple[str, ...]] = ("warmup_steps", "cooldown_steps")

    @model_validator(mode="after")
    def _power_has_a_use(self) -> Self:
        check_power(self.curve, self.power)
        return self

    def parts(self, total: float, peak_lr: float | None) -> Parts:  # noqa: ARG002
        steps = total / 5.0 if self.cooldown_steps is None else self.cooldown_steps
        if self.warmup_steps > total:
            raise _too_long("warmup_steps", self.warmup_steps, total)
        if self.warmup_steps + steps > (1.0 + HAIR) * total:
            raise _too_long("cooldown_steps", steps, total - self.warmup_steps)
        shape = {"end_factor": self.end_factor, "curve": self.curve}
        shape |= {} if self.power is None else {"power": self.power}
        return {
            "warmup": _warmup(self.warmup_steps),
            "body": {"family": "constant"},
            "cooldown": {"start": total - steps, "steps": steps, **shape},
        }


class FlatCosine(Preset):
    """Constant, and from `pct_start` of the run on a cosine down. fastai: `fit_flat_cos`."""

    name: Literal["flat_cosine"] = "flat_cosine"
    pct_start: Share = 0.75
    end_factor: Factor = 1e-5

    def parts(self, total: float, peak_lr: float | None) -> Parts:  # noqa: ARG002
        start = self.pct_start * total
        shape = {"end_factor": self.end_factor, "curve": "cosine"}
        return {
            "body": {"family": "constant"},
            "cooldown": {"start": start, "steps": total - start, **shape},
        }


class SGDR(Preset):
    """Cosine with warm restarts (Loshchilov and Hutter 2017, arXiv 1608.03983).

    The first cycle takes `first_steps`, each next one `t_mult` times as long as the one before.
    With `cycles` instead, that many fill the run.
    """

    name: Literal["sgdr"] = "sgdr"
    first_steps: Length | None = None
    cycles: Annotated[int, Field(ge=1, le=100)] | None = None
    t_mult: TMult = 2.0
    m_mult: Annotated[float, Field(gt=0, le=1)] = 1.0
    end_factor: Factor = 0.0

    lengths: ClassVar[tuple[str, ...]] = ("first_steps",)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.first_steps is None) == (self.cycles is None):
            raise does_not_fit("first_steps", "give exactly one of first_steps and cycles")
        return self

    def parts(self, total: float, peak_lr: float | None) -> Parts:  # noqa: ARG002
        first = self.first_steps or total / sum(self.t_mult**i for i in range(self.cycles or 1))
        if first < SHORTEST:
            raise does_not_fit("cycles", f"{self.cycles} leave {first:g} for the first of them")
        shape = {"t_mult": self.t_mult, "m_mult": self.m_mult, "end_factor": self.end_factor}
        return {"body": {"family": "cosine_restarts", "first_steps": first, **shape}}


class Noam(Preset):
    """lr(t) = scale width^-0.5 min((t + 1)^-0.5, (t + 1) n^-1.5),  n `warmup_steps`.

    Vaswani et al. 2017 (arXiv 1706.03762). The peak follows from `width`, the model's, so `peak_lr`
    is not given beside it.
    """

    name: Literal["noam"] = "noam"
    width: Annotated[int, Field(ge=1, le=1_000_000_000)]
    warmup_steps: Annotated[float, Field(gt=1, le=1e9)]
    scale: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0

    lengths: ClassVar[tuple[str, ...]] = ("warmup_steps",)

    def parts(self, total: float, peak_lr: float | None) -> Parts:
        if peak_lr is not None:
            raise does_not_fit("width", "gives the peak already: leave peak_lr out")
        n = self.warmup_steps
        if n - 1.0 > total:
            raise _too_long("warmup_steps", n, total)
        return {
            "peak_lr": self.scale * self.width**-0.5 * n**-0.5,
            "warmup": {"steps": n - 1.0, "start_factor": 1.0 / n, "curve": "linear"},
            "body": {"family": "inverse_power", "timescale": n, "power": 0.5},
        }


class Ranger21(Preset):
    """The schedule built into Ranger21 (Wright and Demeure 2021, arXiv 2106.13731).

    Linear warmup of n = ceil(2 / (1 - beta2)) steps, or `warmup_share` of the run where n is more
    than 45 % of it; constant; and from `cooldown_from` of the run on linear down to `end_lr`, which
    is absolute and reached by the last step. Both shares are cut to whole steps. As the package
    (commit 1be857f) counts its steps from 1, update t + 1 warms up at (t + 1) / n, and the way down
    begins two steps before it seems to.
    """

    name: Literal["ranger21"] = "ranger21"
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999
    warmup_share: Share = 0.22
    cooldown_from: Share = 0.72
    end_lr: Rate = 3e-5

    def parts(self, total: float, peak_lr: float | None) -> Parts:
        peak = _needed(peak_lr, "ranger21")
        n = math.ceil(2.0 / (1.0 - self.beta2))
        n = int(self.warmup_share * total) if n / total > _LONG_WARMUP else n
        down = int(self.cooldown_from * total)
        if down < max(n, 2):
            told = f"{self.cooldown_from:g} of {total:g}: the warmup of {n} steps must be over"
            raise does_not_fit("cooldown_from", f"{told}, and at least 2 steps")
        return {
            "warmup": {"steps": n - 1.0, "start_factor": 1.0 / n} if n > 1 else None,
            "body": {"family": "constant"},
            "cooldown": {
                "start": down - 2.0,
                "steps": total - down + 1.0,
                "end_factor": _below(self.end_lr, peak, "end_lr"),
            },
        }


class SWA(Preset):
    """Constant, then from `start` on down to `swa_lr`, where weights are averaged.

    Izmailov et al. 2018 (arXiv 1803.05407); the averaging itself is the training loop's. The way
    down takes `anneal_steps`; it starts at three quarters of the run if `start` is left out.
    torch: `SWALR`.
    """

    name: Literal["swa"] = "swa"
    swa_lr: Rate
    start: Span | None = None
    anneal_steps: Annotated[float, Field(ge=SHORTEST, le=1e9)] = 10.0
    anneal: Literal["cosine", "linear"] = "cosine"

    lengths: ClassVar[tuple[str, ...]] = ("start", "anneal_steps")

    def parts(self, total: float, peak_lr: float | None) -> Parts:
        peak = _needed(peak_lr, "swa")
        start = 0.75 * total if self.start is None else self.start
        if start > total:
            raise does_not_fit("start", f"{start:g} is after the end of the run of {total:g}")
        return {
            "body": {"family": "constant"},
            "cooldown": {
                "start": start,
                "steps": self.anneal_steps,
                "end_factor": _below(self.swa_lr, peak, "swa_lr"),
                "curve": self.anneal,
            },
        }


# The one line that a new preset adds itself to.
AnyPreset = Linear | OneCycle | WSD | FlatCosine | SGDR | Noam | Ranger21 | SWA

PRESETS: dict[str, type[AnyPreset]] = {
    preset.model_fields["name"].default: preset for preset in get_args(AnyPreset)
}


def expanded(data: Parts, scale: Scale, peak_lr: float | None) -> Parts:
    """The fields of the schedule that `data`, a preset's `name` and arguments, stands for.

    Raises:
        PydanticCustomError: (a ValueError) naming the field below `preset`.
    """
    name = data.get("name")
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None:
        told = "missing" if name is None else f"{str(name)[:40]!r} is unknown"
        raise does_not_fit("preset.name", f"{told}; it must be one of {', '.join(PRESETS)}")
    arguments = resolved(data, "preset", preset.lengths, scale)
    total = float(scale.horizon())
    try:
        return preset.model_validate(arguments).parts(total, peak_lr)
    except ValidationError as error:
        field, told = _first(error, preset)
        raise does_not_fit(f"preset.{field}", told) from None
    except PydanticCustomError as error:
        context = error.context or {}
        raise does_not_fit(f"preset.{context['field']}", context["problem"]) from None


def _first(error: ValidationError, preset: type[Preset]) -> tuple[str, str]:
    """The argument that the first of the problems is about, and the sentence about it."""
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "does_not_fit":
        return problem["ctx"]["field"], problem["msg"]
    argument = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        _, *known = preset.model_fields
        return argument, f"unknown; the arguments are {', '.join(known)}"
    return argument, problem["msg"]


def _too_long(field: str, length: float, limit: float) -> PydanticCustomError:
    return does_not_fit(field, f"{length:g} is too long: {limit:g} is left of the run")


def _warmup(steps: float) -> Parts | None:
    return {"steps": steps} if steps else None


def _needed(peak_lr: float | None, name: str) -> float:
    if not isinstance(peak_lr, int | float) or not 0 < peak_lr <= 1e6:
        raise does_not_fit("name", f"{name!r} needs peak_lr, above 0 and at most 1e6")
    return peak_lr


def _below(rate: float, peak: float, field: str) -> float:
    if rate > peak:
        raise does_not_fit(field, f"{rate:g} is above the peak of {peak:g}")
    return rate / peak
