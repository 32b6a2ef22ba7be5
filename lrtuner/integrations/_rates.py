"""The rates of a schedule as the table that a framework looks them up in."""

import numpy as np

from lrtuner.errors import UnsupportedError
from lrtuner.export._table import MAX_RATES
from lrtuner.schedules._base import Array
from lrtuner.schedules.grammar import Schedule


def table(schedule: Schedule) -> Array:
    """The rates at t = 0, 1, ..., T: float64, the last is the one that is held.

    Raises:
        UnsupportedError: they are too many.
    """
    if schedule.total_steps > MAX_RATES:
        raise UnsupportedError(
            f"a table of {schedule.total_steps} rates; at most {MAX_RATES} are looked up"
        )
    rates: Array = schedule(np.arange(schedule.total_steps + 1))
    return rates
