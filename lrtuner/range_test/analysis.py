"""One sweep read: smoothed, tested for a signal against the noise, its points located."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrtuner.range_test.sweeps import Sweep
from lrtuner.range_test.votes import votes
from lrtuner.strict import Record

Array = NDArray[np.float64]
Status = Literal["ok", "did_not_diverge", "no_signal", "nan_at_step", "too_few_points", "failed"]

MIN_POINTS = 20
SIGMA_DECADES = 0.2
"""Width of the smoothing kernel in log10(lr)."""

SIGNIFICANT = 4.0
"""A difference of so many standard errors is more than noise: about 1 % of flat curves have one."""


class Analysis(Record):
    """What one sweep says. Rates are null where the curve has no such point.

    `status` says how it ended: `ok`, the loss fell and climbed back, or the sweep stopped on four
    times the best loss; `did_not_diverge`, it fell to the end of the sweep; `nan_at_step`, it was
    not finite from update `stopped_at` (counted from 0) on, without having climbed before; if it
    had fallen, the points are there and `lr_diverged` is the last rate with a finite loss;
    `no_signal`, it did not fall by more than noise; `too_few_points`, fewer than 20 losses.

    `lr_start` and `lr_half`: 10 % and 50 % of the descent are made; `lr_min`: lowest smoothed loss;
    `lr_diverged`: the loss has climbed back by a quarter of the descent, or else the last rate.
    `standard_errors` are those of the smoothed losses, `noise` that of the one a third into the
    sweep. `votes` are what the classical rules say. `stopped_at` is the index of the first loss
    that is not finite, also where the loss had climbed before.
    """

    seed: int
    status: Status
    smoothed: list[float]
    standard_errors: list[float] = []
    noise: float | None = None
    lr_start: float | None = None
    lr_half: float | None = None
    lr_min: float | None = None
    lr_diverged: float | None = None
    votes: dict[str, float | None] = {}
    stopped_at: int | None = None


def analyse(sweep: Sweep) -> Analysis:
    """Read one sweep: smooth, test for a signal against the noise, locate its points.

    What is read are the held-out losses where the sweep has them, else the training losses.

    With x = log10(lr) and W a row-normalised Gaussian kernel (sigma 0.2 decades), each point
    weighted by its distance to the nearer neighbour (Priestley and Chao 1972), the smoothed loss is
    W times the running median of three, clipped at three times its start. The start is the mean
    over the first tenth of the points, at least five, but none beyond the first quarter of the
    decades. The noise of one loss is 1.4826 median(|second differences|) / sqrt(6) over the first
    half (after Gasser, Sroka and Jennen-Steinmetz 1986); the standard error of a weighted mean is
    that times the norm of its weights. So where points are decades apart, as at the low end of a
    linear sweep, the curve is smoothed less and believed less. The held-out losses are of the same
    examples each time: they have little noise, and a small fall of them counts.

    A descent from the start smaller than four standard errors of the difference, or than 2 % of
    the start, is no signal. Nothing right of the minimum is used for a point of descent.
    """
    count, stopped_at = _finite(sweep)
    if count < MIN_POINTS:
        few: Status = "too_few_points" if stopped_at is None else "nan_at_step"
        return Analysis(seed=sweep.seed, status=few, smoothed=[], stopped_at=stopped_at)
    lrs = np.array(sweep.lrs[:count])
    x = np.log10(lrs)
    curve = _smooth(x, np.array(sweep.analysed[:count], dtype=np.float64))
    errors = curve.errors(less=np.zeros(count))
    told = {
        "seed": sweep.seed,
        "smoothed": curve.smoothed.tolist(),
        "standard_errors": errors.tolist(),
        "noise": float(errors[count // 3]),
        "stopped_at": stopped_at,
    }
    lowest = _lowest(curve)
    if lowest is None:
        unseen = stopped_at is not None and _blow_up(curve) is None
        return Analysis(status="nan_at_step" if unseen else "no_signal", **told)
    climbed = _climb(curve, lowest)
    diverged = count - 1 if climbed is None else climbed
    return Analysis(
        status="ok" if climbed is not None else _ending(sweep, stopped_at),
        lr_start=float(lrs[_fallen(curve, lowest, 0.1)]),
        lr_half=float(lrs[_fallen(curve, lowest, 0.5)]),
        lr_min=float(lrs[lowest]),
        lr_diverged=float(lrs[diverged]),
        votes=votes(x[: diverged + 1], curve.smoothed[: diverged + 1]),
        **told,
    )


def _finite(sweep: Sweep) -> tuple[int, int | None]:
    """How many losses come before the first that is not finite, and its index if there is one."""
    pairs = zip(sweep.losses, sweep.analysed, strict=True)
    count = next((i for i, pair in enumerate(pairs) if None in pair), len(sweep.losses))
    return count, count if count < sweep.updates else None


@dataclass(frozen=True)
class _Curve:
    """Smoothed losses and their start; each is a weighted mean of losses with the same noise."""

    smoothed: Array
    weights: Array
    base: float
    head: int
    base_weights: Array
    noise: float

    def errors(self, less: Array) -> Array:
        """The standard error of each smoothed loss less the mean with the weights given."""
        w = self.weights  # the norm of w - less, without another matrix of this size
        squares = np.einsum("ij,ij->i", w, w) - 2 * (w @ less) + less @ less
        found: Array = self.noise * np.sqrt(np.maximum(squares, 0.0))
        return found


def _smooth(x: Array, losses: Array) -> _Curve:
    near = int(np.searchsorted(x, x[0] + 0.25 * (x[-1] - x[0]), side="right"))
    head = min(max(5, len(x) // 10), near)
    start = float(np.median(losses[:head]))
    clipped = np.minimum(losses, 3.0 * start) if start > 0 else losses
    calm = _median_of_three(clipped)  # one outlier among batches is no divergence
    apart = np.diff(x)  # where points are dense each counts less, or they would pull the curve
    width = np.minimum(np.append(apart, apart[-1]), np.append(apart[0], apart))
    weights = width * np.exp(-0.5 * ((x[:, None] - x[None, :]) / SIGMA_DECADES) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    base_weights = weights[:head].mean(axis=0)
    return _Curve(
        smoothed=weights @ calm,
        weights=weights,
        base=float(base_weights @ calm),
        head=head,
        base_weights=base_weights,
        noise=_noise(clipped),
    )


def _median_of_three(losses: Array) -> Array:
    """The running median. The first loss is smoothed as well, the last may begin a blow-up."""
    medians = np.median(np.lib.stride_tricks.sliding_window_view(losses, 3), axis=1)
    return np.concatenate([medians[:1], medians, losses[-1:]])


def _noise(losses: Array) -> float:
    bends = np.diff(losses, 2)[: len(losses) // 2]  # what is straight is no noise
    return 1.4826 * float(np.median(np.abs(bends))) / math.sqrt(6.0)


def _blow_up(curve: _Curve) -> int | None:
    """Where the loss, past its start, is first well above it."""
    uncertain = SIGNIFICANT * curve.errors(less=curve.base_weights)
    above = curve.smoothed > curve.base + np.maximum(uncertain, 0.15 * abs(curve.base))
    above[: curve.head] = False
    return int(np.argmax(above)) if above.any() else None


def _lowest(curve: _Curve) -> int | None:
    """Where the loss is lowest before it blows up; None if that is where it started, or noise."""
    lowest = int(np.argmin(curve.smoothed[: _blow_up(curve)]))
    uncertain = SIGNIFICANT * curve.errors(less=curve.base_weights)[lowest]
    drop = curve.base - curve.smoothed[lowest]
    real = lowest >= curve.head and drop > max(uncertain, 0.02 * abs(curve.base))
    return lowest if real else None


def _climb(curve: _Curve, lowest: int) -> int | None:
    """Where a quarter of the descent is climbed back; None if that may be noise."""
    climb = curve.smoothed[lowest:] - curve.smoothed[lowest]
    back = climb > 0.25 * (curve.base - curve.smoothed[lowest])
    certain = climb > SIGNIFICANT * curve.errors(less=curve.weights[lowest])[lowest:]
    return lowest + int(np.argmax(back)) if (back & certain).any() else None


def _fallen(curve: _Curve, lowest: int, share: float) -> int:
    """The last point up to the lowest that lacks the share of the descent."""
    level = curve.base - share * (curve.base - curve.smoothed[lowest])
    above = np.flatnonzero(curve.smoothed[: lowest + 1] >= level)
    return int(above[-1]) if len(above) else 0


def _ending(sweep: Sweep, stopped_at: int | None) -> Status:
    """How a sweep ended whose loss fell and was not seen to climb back."""
    if stopped_at is not None:
        return "nan_at_step"
    return "ok" if sweep.updates < len(sweep.lrs) else "did_not_diverge"
