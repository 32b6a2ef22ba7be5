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

SHARPNESS = 2.0
"""How fast a run counts less towards the centre the further its loss is above the lowest."""

DRIFT = 0.4
"""The best peak over T steps is that over h T steps times h^0.4: a longer run bears less."""

TIE = 1e-9
"""Log losses that differ by no more are equal: rounding decides nothing."""

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
    losses: Mapping[float, float], start: float, bounds: tuple[float, float] | None = None
) -> float | None:
    """The peak to try next, given the losses by peak so far; None when it has been found.

    That is when the lowest loss has a higher one on both sides.

    Peaks are 1 and 3 times powers of ten, so that a sweep which says something slightly different
    leads to the same probes, and the libraries' usual rates are among them. The first is the one
    nearest to `start`; with `bounds`, all lie within, and where none of them does, `start` is tried
    alone. At most 8 probes are asked for.
    """
    if len(losses) >= MAX_PROBES:
        return None
    by_rung = {_rung(lr): loss for lr, loss in losses.items()}
    for rung in _towards_a_bracket(by_rung, _rung(start)):
        lr = _rate(rung)
        if bounds is None or bounds[0] <= lr <= bounds[1]:
            return lr
    if bounds and not losses:
        return min(max(start, bounds[0]), bounds[1])
    return None


def by_rate(probes: Sequence[Probe]) -> dict[float, float]:
    """The losses of probes of one kind by their peaks; infinite where they diverged."""
    return {probe.lr: _loss(probe) for probe in probes}


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

    The centre is that of `centre`. Bounds interpolate ln loss over ln lr. All are moved by h^0.4, h
    being the probes' share of the steps.
    """
    done = sorted((probe.lr, _loss(probe)) for probe in probes)
    rates, losses = [math.log(lr) for lr, _ in done], [loss for _, loss in done]
    middle = centre([(lr, log_loss(loss)) for lr, loss in done])
    if len(probes) < LEAST or middle is None:
        return None
    at, best = math.log(middle), losses.index(min(losses))
    low = _edge(rates[best::-1], losses[best::-1])
    high = _edge(rates[best:], losses[best:])
    moved = DRIFT * math.log(probes[0].steps / total_steps)
    return Plateau(
        centre=math.exp(at + moved),
        low=math.exp(min(low, at) + moved),
        high=math.exp(max(high, at) + moved),
    )


def centre(points: Sequence[tuple[float, float]]) -> float | None:
    """The centre of the peaks that do well, from (lr, ln loss) of runs that differ in these alone.

    With e_i the excess of ln loss over the lowest, and s how far it rises to the neighbours of the
    lowest (the geometric mean of both, but at least half of the larger):

        w_i = (1 + 2 e_i / s)^-2,    centre = exp(sum w_i ln lr_i / sum w_i)

    The lowest loss alone is drawn towards the cliff beside it. What counts is how the rises compare
    with each other, so a loss whose floor is far above zero gives the same centre. None if every
    run diverged (ln loss infinite).
    """
    known = sorted(points)
    lowest = min((loss for _, loss in known), default=math.inf)
    if lowest == math.inf:
        return None
    best = [i for i, (_, loss) in enumerate(known) if loss <= lowest + TIE]
    beside = [i for i in (best[0] - 1, best[-1] + 1) if 0 <= i < len(known)]
    rise = _rise([known[i][1] - lowest for i in beside]) if lowest > -math.inf else 0.0
    if not rise:
        return math.exp(math.fsum(math.log(known[i][0]) for i in best) / len(best))
    weights = [(1.0 + SHARPNESS * (loss - lowest) / rise) ** -2 for _, loss in known]
    total = sum(w * math.log(lr) for w, (lr, _) in zip(weights, known, strict=True))
    return math.exp(total / sum(weights))


def _rise(excesses: Sequence[float]) -> float:
    """How far the loss rises beside the lowest; 0 if that is not known."""
    finite = [excess for excess in excesses if math.isfinite(excess)]
    if not finite:
        return 0.0
    mean = math.prod(finite) ** (1.0 / len(finite))
    return max(mean, max(finite) / 2.0)


def log_loss(loss: float) -> float:
    """ln loss; minus infinity for a loss of 0."""
    return math.log(loss) if loss > 0.0 else -math.inf


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


def _loss(probe: Probe) -> float:
    return math.inf if probe.loss is None else probe.loss


def _rate(rung: int) -> float:
    """Rung 2k is 1e k, rung 2k + 1 is 3e k: the floats that one writes."""
    return float(f"{(1, 3)[rung % 2]}e{rung // 2}")


def _rung(lr: float) -> int:
    """The rung nearest to a rate, by the ratio."""
    near = round(2.0 * math.log10(lr))
    return min(range(near - 1, near + 2), key=lambda rung: abs(math.log(lr / _rate(rung))))
