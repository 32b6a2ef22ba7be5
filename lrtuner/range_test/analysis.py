"""One sweep read: smoothed, tested for a signal against the noise, its points located."""

import math
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


class Analysis(Record):
    """What one sweep says. Rates are null where the curve has no such point.

    `lr_start` and `lr_half`: 10 % and 50 % of the descent are made; `lr_min`: lowest smoothed loss;
    `lr_diverged`: the loss has climbed back by a quarter of the descent. `votes` are what the
    classical rules say. `stopped_at` is the index of the first loss that is not finite.
    """

    seed: int
    status: Status
    smoothed: list[float]
    noise: float | None = None
    lr_start: float | None = None
    lr_half: float | None = None
    lr_min: float | None = None
    lr_diverged: float | None = None
    votes: dict[str, float | None] = {}
    stopped_at: int | None = None


def analyse(sweep: Sweep) -> Analysis:
    """Read one sweep: smooth, test for a signal against the noise, locate its points.

    With x = log10(lr) and W a row-normalised Gaussian kernel (sigma 0.2 decades), the smoothed loss
    is W times the running median of three, clipped at three times its start. Its noise is 1.4826
    MAD(residuals) / sqrt(effective points). A descent smaller than four times the noise, or than
    2 % of the start, is no signal. Nothing right of the minimum is used for a point of descent.
    """
    finite = [loss is not None for loss in sweep.losses]
    count = finite.index(False) if False in finite else len(finite)
    stopped_at = count if count < sweep.updates else None
    if count < MIN_POINTS:
        status: Status = "nan_at_step" if count < sweep.updates else "too_few_points"
        return Analysis(seed=sweep.seed, status=status, smoothed=[], stopped_at=stopped_at)
    losses = np.array(sweep.losses[:count], dtype=np.float64)
    lrs = np.array(sweep.lrs[:count])
    x = np.log10(lrs)
    smoothed, noise = _smoothed(x, losses)
    head = max(5, count // 10)
    base = float(np.mean(smoothed[:head]))
    blown_up = smoothed > base + max(4 * noise, 0.15 * abs(base))
    cut = int(np.argmax(blown_up)) if blown_up.any() else count
    lowest = int(np.argmin(smoothed[: max(cut, 3)]))
    drop = base - float(smoothed[lowest])
    common = {"seed": sweep.seed, "smoothed": smoothed.tolist(), "noise": noise}
    common["stopped_at"] = stopped_at
    if drop <= max(4 * noise, 0.02 * abs(base)):
        return Analysis(status="no_signal", **common)
    after = smoothed[lowest:] > smoothed[lowest] + 0.25 * drop
    stopped_short = count < len(sweep.lrs)  # on a diverged or non-finite loss
    diverged = lowest + int(np.argmax(after)) if after.any() else count - 1
    return Analysis(
        status="ok" if after.any() or stopped_short else "did_not_diverge",
        lr_start=float(lrs[_reached(smoothed, lowest, base - 0.1 * drop)]),
        lr_half=float(lrs[_reached(smoothed, lowest, base - 0.5 * drop)]),
        lr_min=float(lrs[lowest]),
        lr_diverged=float(lrs[diverged]),
        votes=votes(x[: diverged + 1], smoothed[: diverged + 1]),
        **common,
    )


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
