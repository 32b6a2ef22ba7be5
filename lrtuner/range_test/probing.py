"""Probes: short whole trainings that verify what the sweeps say.

A sweep shows where training blows up, not which rate ends lowest. So a schedule of each kind,
compressed to a part of the horizon, is trained at a few peaks, and the held-out loss at the end
decides. All probes of a job share one seed: the same weights, the same order of data.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from lrtuner.strict import Record

Kind = Literal["constant", "step", "decaying", "one_cycle", "cyclic"]
"""What decides where the best peak lies: does the rate stay, fall in steps, fall, or rise first?"""

LEAST, MAX_PROBES = 3, 8
"""Fewer say nothing; more are not asked for."""

SHARPNESS = 3.0
"""A probe counts (lowest loss / its loss)^3 towards the centre."""

DRIFT = 0.4
"""The best peak over T steps is that over h T steps times h^0.4: a longer run bears less."""

TOLERANCE = 1.25
"""Rates whose loss is below so many times the lowest belong to the plateau."""


class Probe(Record):
    """One probe: a schedule of the kind, compressed to `steps` updates, with its peak at `lr`.

    `loss` is the mean loss on the validation split after the last update, null if the training
    diverged; `cost` is in full-training equivalents.
    """

    kind: Kind
    lr: float
    steps: int
    seed: int
    loss: float | None
    cost: float


class Plateau(Record):
    """Where the probes' loss is lowest, and between which rates it stays within 1.25 times that.

    Where the probes end before the loss has risen so far, `low` or `high` is the last of them.
    """

    centre: float
    low: float
    high: float


def next_rate(
    probes: Sequence[Probe], start: float, bounds: tuple[float, float] | None = None
) -> float | None:
    """The peak to probe next, given the probes of one kind; None when it has been found.

    That is when the lowest loss has a higher one on both sides.

    Peaks are 1 and 3 times powers of ten, so that a sweep which says something slightly different
    leads to the same probes, and the libraries' usual rates are among them. The first is the one
    nearest to `start`; with `bounds`, all lie within. At most 8 probes are asked for.
    """
    if len(probes) >= MAX_PROBES:
        return None
    losses = {_rung(probe.lr): _loss(probe) for probe in probes}
    for rung in _towards_a_bracket(losses, _rung(start)):
        lr = _rate(rung)
        if bounds is None or bounds[0] <= lr <= bounds[1]:
            return lr
    return None


def plateaus(probes: Sequence[Probe], total_steps: int) -> dict[Kind, Plateau]:
    """The plateau of each kind that was probed and has one."""
    by_kind: dict[Kind, list[Probe]] = {}
    for probe in probes:
        by_kind.setdefault(probe.kind, []).append(probe)
    found = {kind: plateau(own, total_steps) for kind, own in by_kind.items()}
    return {kind: one for kind, one in found.items() if one is not None}


def plateau(probes: Sequence[Probe], total_steps: int) -> Plateau | None:
    """What probes of one kind say of a run of `total_steps` steps.

    None if there are fewer than 3, or all of them diverged.

    With weights w_i = (lowest loss / loss_i)^3, the centre is exp(sum w_i ln lr_i / sum w_i), a
    soft centre of the plateau: the lowest loss alone is drawn towards the cliff beside it. Bounds
    interpolate ln loss over ln lr. All are moved by h^0.4, h being the probes' share of the steps.
    """
    done = sorted((probe.lr, _loss(probe)) for probe in probes)
    rates, losses = [math.log(lr) for lr, _ in done], [loss for _, loss in done]
    lowest = min(losses, default=math.inf)
    if len(probes) < LEAST or not math.isfinite(lowest):
        return None
    weights = [_weight(lowest, loss) for loss in losses]
    centre = sum(w * x for w, x in zip(weights, rates, strict=True)) / sum(weights)
    best = losses.index(lowest)
    low = _edge(rates[best::-1], losses[best::-1])
    high = _edge(rates[best:], losses[best:])
    moved = DRIFT * math.log(probes[0].steps / total_steps)
    return Plateau(
        centre=math.exp(centre + moved),
        low=math.exp(min(low, centre) + moved),
        high=math.exp(max(high, centre) + moved),
    )


def _towards_a_bracket(losses: Mapping[int, float], start: int) -> list[int]:
    """The rungs that lack: the first one, else the neighbours of the best, the lower one first."""
    if not losses:
        return [start]
    best = min(losses, key=lambda rung: (losses[rung], rung))
    return [rung for rung in (best - 1, best + 1) if rung not in losses]


def _edge(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Going outwards from the best: where the loss passes the tolerance, in ln lr."""
    limit = TOLERANCE * losses[0]
    for i in range(1, len(losses)):
        if losses[i] > limit:
            before, after = losses[i - 1], losses[i]
            if before <= 0 or not math.isfinite(after):
                return rates[i - 1]
            share = math.log(limit / before) / math.log(after / before)
            return rates[i - 1] + share * (rates[i] - rates[i - 1])
    return rates[-1]


def _weight(lowest: float, loss: float) -> float:
    if loss == lowest:
        return 1.0
    return (lowest / loss) ** SHARPNESS if lowest > 0 else 0.0


def _loss(probe: Probe) -> float:
    return math.inf if probe.loss is None else probe.loss


def _rate(rung: int) -> float:
    """Rung 2k is 1e k, rung 2k + 1 is 3e k: the floats that one writes."""
    return float(f"{(1, 3)[rung % 2]}e{rung // 2}")


def _rung(lr: float) -> int:
    """The rung nearest to a rate, by the ratio."""
    near = round(2.0 * math.log10(lr))
    return min(range(near - 1, near + 2), key=lambda rung: abs(math.log(lr / _rate(rung))))
