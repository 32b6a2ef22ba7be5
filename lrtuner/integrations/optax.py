"""A function for optax that gives exactly the schedule's rates."""

from collections.abc import Callable
from typing import Any, overload

import jax
import jax.numpy as jnp

from lrtuner.document import ReactiveDocument, ScheduleDocument
from lrtuner.errors import UnsupportedError
from lrtuner.integrations._horizon import fitted, no_horizon
from lrtuner.integrations._rates import table
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.plateau import PlateauRule


@overload
def scheduler(
    schedule: Schedule,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
    steps_per_epoch: int | None = None,
) -> Callable[[Any], jax.Array]: ...
@overload
def scheduler(
    schedule: ReactiveDocument,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
    steps_per_epoch: int | None = None,
) -> "PlateauRate": ...
def scheduler(
    schedule: Schedule | ReactiveDocument,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
    steps_per_epoch: int | None = None,
) -> Any:
    """A function of the count of updates, for `optax.adamw(learning_rate=...)`.

    Update t + 1 runs at `schedule(t)`, or with a schedule in epochs at that of its epoch. The
    function can be traced (`jit`, `scan`). Rates are in single precision, or in double where
    `jax_enable_x64` is set. The count is in the optimizer's state: restoring that resumes the
    schedule. Inside `optax.MultiSteps` it counts updates and not micro-batches.

    For a schedule that reacts to a metric this makes a `PlateauRate` instead.

    Args:
        schedule: what `lrtuner.load` returns.
        total_steps: how long this training will really be, in the schedule's unit: updates or
            epochs. When it differs from the schedule's, that is an error unless `rescale` is true.
        rescale: stretch the schedule to `total_steps` on purpose.
        steps_per_epoch: for a schedule in epochs, the updates of one; if left out, the context's.

    Raises:
        HorizonMismatchError: `total_steps` differs from the schedule's and `rescale` is false.
        UnsupportedError: a schedule in seconds, which optax cannot know of; one in epochs without
            `steps_per_epoch`; more than 5,000,000 steps or epochs; or `total_steps` or `rescale`
            for a schedule that reacts to a metric.
    """
    if isinstance(schedule, ReactiveDocument):
        no_horizon(total_steps, rescale=rescale)
        return PlateauRate(schedule)
    per = _steps_per_unit(schedule, steps_per_epoch)
    schedule = fitted(schedule, total_steps, rescale=rescale)
    rates, end = table(schedule), schedule.total_steps

    def rate(count: Any) -> jax.Array:
        return jnp.take(jnp.asarray(rates), jnp.clip(count // per, 0, end))

    return rate


class PlateauRate:
    """The rate by the metric: asked between updates, outside of what is traced.

        optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=plateau.rate)
        ...
        opt_state.hyperparams["learning_rate"] = plateau.step(metric)  # once per unit

    `rule` is its state, a plain object that can be pickled: to resume, set it on a new one.
    """

    def __init__(self, document: ReactiveDocument) -> None:
        self.document = document
        self.rule = PlateauRule(document.body)

    @property
    def rate(self) -> float:
        """The rate now."""
        return self.document.peak_lr * self.rule.factor

    def step(self, value: float) -> float:
        """Take the next value of the metric; the rate from now on."""
        self.rule.step(value)
        return self.rate


def _steps_per_unit(schedule: Schedule, steps_per_epoch: int | None) -> int:
    if schedule.unit == "second":
        raise UnsupportedError("optax counts updates: it cannot follow a schedule in seconds")
    if schedule.unit == "step":
        return 1
    if steps_per_epoch is not None:
        return steps_per_epoch
    if isinstance(schedule, ScheduleDocument) and schedule.context:
        return schedule.context.steps_per_epoch
    raise UnsupportedError("a schedule in epochs needs steps_per_epoch here, or in its context")
