"""Analysis of LR range tests: from raw sweeps to where training learns and where it blows up.

A sweep raises the learning rate geometrically, one update per rate (Smith 2017, arXiv
1506.01186). Losses are stored raw and smoothed afterwards over log10(lr) with a symmetric kernel,
so that nothing lags; a noise estimate decides whether there is a signal at all.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrtuner.strict import Record

Array = NDArray[np.float64]
Status = Literal["ok", "did_not_diverge", "no_signal", "nan_at_step", "too_few_points", "failed"]

MIN_POINTS = 20
SIGMA_DECADES = 0.2
"""Width of the smoothing kernel in log10(lr)."""

DECAYING_DIVISOR = 3.0
CONSTANT_DIVISOR = 10.0
"""The starting peak is the divergence point over this: for schedules that decay, or do not."""

BOUND_BELOW, BOUND_ABOVE = 100.0, 2.0
"""How far below and above the divergence point a search looks: warmup and decay bear a little more
than the sweep did."""

FALLBACK_DECADES = (2.0, 1.0)
"""How far below and above the usual rates of an optimizer a search looks without a signal."""


class Sweep(Record):
    """One pass of the range test: `losses[i]` is the loss that the update at rate `lrs[i]` saw.

    Losses after the sweep stopped, and non-finite ones, are null. `updates` were really made.
    """

    seed: int
    lrs: list[float]
    losses: list[float | None]
    updates: int


class Analysis(Record):
    """What one sweep says. Rates are null where the curve has no such point.

    `lr_start` and `lr_half`: 10 % and 50 % of the descent are made; `lr_min`: lowest smoothed loss;
    `lr_diverged`: the loss has climbed back by a quarter of the descent; `lr_steep`: the steepest
    descent per decade.
    """

    seed: int
    status: Status
    smoothed: list[float]
    noise: float | None = None
    lr_start: float | None = None
    lr_half: float | None = None
    lr_min: float | None = None
    lr_steep: float | None = None
    lr_diverged: float | None = None


class Suggestion(Record):
    """Where to search the peak rate, and where to begin for decaying and constant schedules."""

    low: float
    high: float
    decaying: float
    constant: float
    source: Literal["range_test", "optimizer_default", "job"]


class RangeTestResult(Record):
    """The range test of a job: every raw sweep, what it says, and what follows for the search."""

    status: Status
    message: str
    sweeps: list[Sweep]
    analyses: list[Analysis]
    suggestion: Suggestion
    cost: float


def sweep_rates(min_lr: float, max_lr: float, num_steps: int) -> list[float]:
    """lr_i = min_lr (max_lr / min_lr)^(i / (n - 1)), i = 0..n-1; both ends exact."""
    i = np.arange(num_steps) / (num_steps - 1)
    rates: list[float] = (min_lr * (max_lr / min_lr) ** i).tolist()
    return [min_lr, *rates[1:-1], max_lr]


def analyse(sweep: Sweep) -> Analysis:
    """Read one sweep: smooth, test for a signal against the noise, locate its points.

    With x = log10(lr) and W a row-normalised Gaussian kernel (sigma 0.2 decades), the smoothed loss
    is W times the running median of three, clipped at three times its start. Its noise is 1.4826
    MAD(residuals) / sqrt(effective points). A descent smaller than four times the noise, or than
    2 % of the start, is no signal. Nothing right of the minimum is used for a point of descent.
    """
    finite = [loss is not None for loss in sweep.losses]
    count = finite.index(False) if False in finite else len(finite)
    if count < MIN_POINTS:
        cut_by_nan = count < sweep.updates
        status: Status = "nan_at_step" if cut_by_nan else "too_few_points"
        return Analysis(seed=sweep.seed, status=status, smoothed=[])
    losses = np.array(sweep.losses[:count], dtype=np.float64)
    lrs = np.array(sweep.lrs[:count])
    smoothed, noise = _smoothed(np.log10(lrs), losses)
    head = max(5, count // 10)
    base = float(np.mean(smoothed[:head]))
    blown_up = smoothed > base + max(4 * noise, 0.15 * abs(base))
    cut = int(np.argmax(blown_up)) if blown_up.any() else count
    lowest = int(np.argmin(smoothed[: max(cut, 3)]))
    drop = base - float(smoothed[lowest])
    common = {"seed": sweep.seed, "smoothed": smoothed.tolist(), "noise": noise}
    if drop <= max(4 * noise, 0.02 * abs(base)):
        return Analysis(status="no_signal", **common)
    after = smoothed[lowest:] > smoothed[lowest] + 0.25 * drop
    stopped_short = count < len(
        sweep.lrs
    )  # the sweep itself ended on a diverged or non-finite loss
    diverged = lowest + int(np.argmax(after)) if after.any() else count - 1
    return Analysis(
        status="ok" if after.any() or stopped_short else "did_not_diverge",
        lr_start=float(lrs[_reached(smoothed, lowest, base - 0.1 * drop)]),
        lr_half=float(lrs[_reached(smoothed, lowest, base - 0.5 * drop)]),
        lr_min=float(lrs[lowest]),
        lr_steep=float(lrs[_steepest(np.log10(lrs), smoothed, lowest)]),
        lr_diverged=float(lrs[diverged]),
        **common,
    )


def suggest(
    analyses: list[Analysis],
    default_lrs: tuple[float, ...],
    lr_range: tuple[float, float] | None = None,
) -> Suggestion:
    """Bounds and starting peaks from the geometric mean of the divergence points over seeds.

    Without a usable sweep the optimizer's usual rates stand in. A range that the job gives bounds
    everything.
    """
    points = [a.lr_diverged for a in analyses if a.lr_diverged is not None]
    if points:
        diverged = math.exp(sum(map(math.log, points)) / len(points))
        found = Suggestion(
            low=diverged / BOUND_BELOW,
            high=diverged * BOUND_ABOVE,
            decaying=diverged / DECAYING_DIVISOR,
            constant=diverged / CONSTANT_DIVISOR,
            source="range_test",
        )
    else:
        below, above = FALLBACK_DECADES
        found = Suggestion(
            low=min(default_lrs) * 10**-below,
            high=max(default_lrs) * 10**above,
            decaying=max(default_lrs),
            constant=min(default_lrs),
            source="optimizer_default",
        )
    return found if lr_range is None else _bounded(found, *lr_range)


def summary(analyses: list[Analysis]) -> tuple[Status, str]:
    """The status of several sweeps together, and a sentence on it."""
    statuses: list[Status] = [analysis.status for analysis in analyses]
    usable = [a for a in analyses if a.lr_diverged is not None]
    if not statuses:
        return "too_few_points", "The budget is too small for a range test; usual rates stand in."
    if not usable:
        worst = max(statuses, key=statuses.count)
        return worst, f"No sweep gave a usable signal ({worst}); usual rates stand in."
    points = [a.lr_diverged for a in usable if a.lr_diverged is not None]
    status: Status = "ok" if any(a.status == "ok" for a in usable) else "did_not_diverge"
    where = f"between {min(points):.3g} and {max(points):.3g}"
    told = f"{len(usable)} of {len(analyses)} sweeps"
    if status == "ok":
        return status, f"{told} agree that training diverges {where}."
    return status, f"{told} gave a signal, and none diverged: the bound {where} is the sweep's end."


def _smoothed(x: Array, losses: Array) -> tuple[Array, float]:
    start = float(np.median(losses[: max(5, len(losses) // 10)]))
    calm = _median_of_three(losses)  # one outlier among batches is no divergence
    clipped = np.minimum(calm, 3.0 * start) if start > 0 else calm
    weights = np.exp(-0.5 * ((x[:, None] - x[None, :]) / SIGMA_DECADES) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    smoothed: Array = weights @ clipped
    residuals = (losses - smoothed)[: max(len(x) // 2, 5)]
    effective = 1.0 / float(np.sum(weights[len(x) // 3] ** 2))
    spread = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals))))
    return smoothed, spread / math.sqrt(effective)


def _median_of_three(losses: Array) -> Array:
    padded = np.pad(losses, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3)
    return np.median(windows, axis=1)


def _reached(smoothed: Array, lowest: int, level: float) -> int:
    above = np.flatnonzero(smoothed[: lowest + 1] >= level)
    return int(above[-1]) if len(above) else 0


def _steepest(x: Array, smoothed: Array, lowest: int) -> int:
    slope = np.gradient(smoothed, x)
    return int(np.argmin(slope[: lowest + 1]))


def _bounded(found: Suggestion, low: float, high: float) -> Suggestion:
    return Suggestion(
        low=low,
        high=high,
        decaying=min(max(found.decaying, low), high),
        constant=min(max(found.constant, low), high),
        source="job",
    )
