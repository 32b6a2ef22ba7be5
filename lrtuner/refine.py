"""A schedule derived from a finished run: large steps where its gradients were small.

The convex theory that makes linear decay the best schedule for gradients of equal norms gives,
where the norms of a run are known, the best schedule for those (Defazio et al. 2023, arXiv
2310.07831, section 3). It is one more candidate, not a better one by right.
"""

from bisect import bisect_left, insort
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrtuner.bound import checked_norms
from lrtuner.errors import InvalidInputError, UnsupportedError
from lrtuner.schedules.table import MAX_VALUES, Table

Array = NDArray[np.float64]

SMOOTHING = 0.1
"""The width of the median filter, as a share of the run."""


def refined(
    gradient_norms: ArrayLike, *, exponent: Literal[1, 2], smoothing: float = SMOOTHING
) -> Array:
    """The factors of the peak, one per step, that the gradient norms G_1..G_T of a run suggest.

    With G^ the smoothed norms and w_t = G^_t^-exponent:

        factor_t = w_t sum_{p>t} w_p / max_t (w_t sum_{p>t} w_p)

    The last is 0, the largest 1. Equal norms give linear decay, and a warmup follows by itself
    where the norms fall at first.

    Args:
        gradient_norms: of a whole run of at least 2 steps.
        exponent: 2 with l2 norms, for SGD; 1 with l1 norms, for Adam and its kin.
        smoothing: see `smoothed`.

    Raises:
        InvalidInputError: there are fewer than 2 norms, `exponent` is another number, or as
            `smoothed` says.
    """
    if exponent not in (1, 2):
        raise InvalidInputError(f"exponent must be 1 or 2, got {exponent!r}")
    norms = smoothed(gradient_norms, smoothing)
    if len(norms) < 2:
        raise InvalidInputError("one step cannot be refined: at least 2 are needed")
    weights = 1.0 / norms**exponent
    later = np.append(np.cumsum(weights[:0:-1])[::-1], 0.0)
    factors: Array = weights * later
    return factors / np.max(factors)


def smoothed(gradient_norms: ArrayLike, smoothing: float = SMOOTHING) -> Array:
    """The running median of the norms: without the spikes of single batches.

    It is centred, over 2 floor(smoothing T / 2) + 1 steps; before the first step that one repeats,
    and after the last the run is mirrored at it.

    Args:
        gradient_norms: one per step, at least one.
        smoothing: the width of the filter as a share of the run, in [0, 1]; 0 changes nothing.

    Raises:
        InvalidInputError: a norm is not in [1e-50, 1e50], or there is none; `smoothing` is out of
            range.
    """
    norms = checked_norms(gradient_norms)
    if norms.ndim != 1 or not norms.size:
        raise InvalidInputError(f"gradient norms must be one per step, got shape {norms.shape}")
    if not 0.0 <= smoothing <= 1.0:
        raise InvalidInputError(f"smoothing must be 0 to 1, got {smoothing!r}")
    half = int(smoothing * len(norms) / 2)
    if not half:
        return norms
    mirrored = norms[-half - 1 : -1][::-1]
    return _running_median(np.concatenate((np.full(half, norms[0]), norms, mirrored)), half)


def table(factors: ArrayLike) -> Table:
    """The factors as the body of a schedule of as many steps, without warmup and cooldown.

    Raises:
        UnsupportedError: there are more than a million of them.
        ValidationError: (a ValueError) one is not in [0, 1], or there is none.
    """
    values = np.asarray(factors, dtype=np.float64)
    if values.size > MAX_VALUES:
        raise UnsupportedError(
            f"a table of {values.size} values; at most {MAX_VALUES} are possible"
        )
    return Table(values=tuple(values.tolist()))


def _running_median(padded: Array, half: int) -> Array:
    """The median of every window of 2 `half` + 1 values.

    One sorted window slides along: numpy would have to hold all the windows at once.
    """
    values: list[float] = padded.tolist()
    width = 2 * half + 1
    window = sorted(values[:width])
    medians = [window[half]]
    for leaving, entering in zip(values, values[width:], strict=False):
        del window[bisect_left(window, leaving)]
        insort(window, entering)
        medians.append(window[half])
    return np.array(medians)
