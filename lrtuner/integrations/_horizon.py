"""A schedule and the length of the training that it is used in."""

from lrtuner.errors import HorizonMismatchError, UnsupportedError
from lrtuner.schedules.grammar import Schedule


def fitted(schedule: Schedule, total_steps: int | None, *, rescale: bool) -> Schedule:
    """The schedule for a training of `total_steps`, counted in its unit; None is not to ask.

    Raises:
        HorizonMismatchError: it was made for another length and `rescale` is false.
    """
    if total_steps is None or total_steps == schedule.total_steps:
        return schedule
    if rescale:
        return schedule.rescaled(total_steps)
    raise HorizonMismatchError(
        f"the schedule is for {schedule.total_steps} {schedule.unit}s, this training takes "
        f"{total_steps}: tune for that length, or pass rescale=True to stretch it"
    )


def no_horizon(total_steps: int | None, *, rescale: bool) -> None:
    """Refuse a length where a schedule reacts to a metric.

    Raises:
        UnsupportedError: `total_steps` or `rescale` is given.
    """
    if total_steps is not None or rescale:
        raise UnsupportedError(
            "a schedule that reacts to a metric has no horizon: leave out total_steps and rescale"
        )
