"""Keras 3 objects that give exactly the schedule's rates, on every backend."""

import time
from collections.abc import Callable
from typing import Any, Self

import keras

from lrtuner.document import ReactiveDocument
from lrtuner.errors import InvalidInputError
from lrtuner.integrations._horizon import fitted, no_horizon
from lrtuner.integrations._rates import table
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.plateau import PlateauRule


def scheduler(
    schedule: Schedule | ReactiveDocument,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
    gradient_accumulation_steps: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """What gives `schedule` to Keras: it depends on the schedule's unit.

    - step: a `LearningRateSchedule`, for `keras.optimizers.SGD(learning_rate=...)`. Update t + 1
      runs at `schedule(t)`. It is saved with the model, which loads again where this module is
      imported, and goes on at the update it was saved at.
    - epoch: a callback for `fit`, Keras' own `LearningRateScheduler`. Epoch t + 1 runs at
      `schedule(t)`; to resume, tell `fit` the `initial_epoch`.
    - second: a callback for `fit`, a `ClockCallback`, whose `elapsed` is kept to resume.
    - for a schedule that reacts to a metric: a callback for `fit`, a `PlateauCallback`, whose
      `rule` is kept to resume.

    Rates are in single precision, or in double where `keras.config.floatx()` is. A callback needs
    an optimizer made with a number: `learning_rate=schedule.peak_lr`.

    Args:
        schedule: what `lrtuner.load` returns.
        total_steps: how long this training will really be, in the schedule's unit. When it differs
            from the schedule's, that is an error unless `rescale` is true.
        rescale: stretch the schedule to `total_steps` on purpose.
        gradient_accumulation_steps: the optimizer's, 1 if it has none: Keras counts micro-batches.
        clock: seconds that never go back; only a schedule in seconds asks it.

    Raises:
        HorizonMismatchError: `total_steps` differs from the schedule's and `rescale` is false.
        UnsupportedError: more than 5,000,000 steps; or `total_steps` or `rescale` for a schedule
            that reacts to a metric.
    """
    if isinstance(schedule, ReactiveDocument):
        no_horizon(total_steps, rescale=rescale)
        return PlateauCallback(schedule)
    schedule = fitted(schedule, total_steps, rescale=rescale)
    if schedule.unit == "epoch":
        return keras.callbacks.LearningRateScheduler(lambda epoch, _: schedule(epoch))
    if schedule.unit == "second":
        return ClockCallback(schedule, clock)
    return ScheduledRate(schedule, gradient_accumulation_steps)


@keras.saving.register_keras_serializable(package="lrtuner")
class ScheduledRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The rates of a schedule in steps, looked up by the optimizer's count."""

    def __init__(self, schedule: Schedule, gradient_accumulation_steps: int = 1) -> None:
        super().__init__()
        self.schedule = schedule
        self.gradient_accumulation_steps = gradient_accumulation_steps
        precision = "float64" if keras.config.floatx() == "float64" else "float32"
        # made here and not when called: a tensor made while a step is traced does not outlive it
        self._rates = keras.ops.convert_to_tensor(table(schedule), dtype=precision)

    def __call__(self, step: Any) -> Any:
        """The rate at the optimizer's count of micro-batches: a scalar, or one for each."""
        update = keras.ops.cast(step, "int32") // self.gradient_accumulation_steps
        return keras.ops.take(self._rates, keras.ops.clip(update, 0, self.schedule.total_steps))

    def get_config(self) -> dict[str, Any]:
        """The schedule as it is written in a config, and the steps of an update."""
        return {
            "schedule": self.schedule.bare().document,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The same again."""
        return cls(**{**config, "schedule": Schedule.model_validate(config["schedule"])})


class ClockCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the rate before every batch, by the seconds trained so far.

    They are in `elapsed`, which may be set, without validation and what else lies between epochs.
    """

    def __init__(self, schedule: Schedule, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.schedule = schedule
        self.elapsed = 0.0
        self._clock = clock
        self._now = clock()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Time counts from here."""
        self._now = self._clock()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Set the rate of this batch."""
        self._tick()
        self.model.optimizer.learning_rate = self.schedule(self.elapsed)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Time counts up to here, if this was the last batch."""
        self._tick()

    def _tick(self) -> None:
        now = self._clock()
        self.elapsed, self._now = self.elapsed + now - self._now, now


class PlateauCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the rate by torch's rule, at the end of every epoch or, in the unit step, every update.

    `rule` is its state, a plain object that can be pickled: to resume, set it on a new one. At the
    end of an update, Keras' metrics are means since the epoch began. Keras' own `ReduceLROnPlateau`
    has another rule: see `lrtuner.schedules.plateau`.
    """

    def __init__(self, document: ReactiveDocument) -> None:
        super().__init__()
        self.document = document
        self.rule = PlateauRule(document.body)
        self._updates = 0

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Set the rate to begin with: the peak, or where it was left."""
        self._updates = self._made()
        self._set_rate()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """In the unit step, look at the metric if this batch completed an update."""
        if self.document.unit == "step" and self._made() > self._updates:
            self._updates = self._made()
            self._look(logs or {})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """In the unit epoch, look at the metric."""
        if self.document.unit == "epoch":
            self._look(logs or {})

    def _made(self) -> int:
        """The updates made, which gradient accumulation makes fewer than the batches."""
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def _look(self, logs: dict[str, Any]) -> None:
        monitor = self.document.body.monitor
        if monitor not in logs:
            known = ", ".join(sorted(logs)) or "none"
            raise InvalidInputError(f"no metric {monitor} here; there is: {known}")
        self.rule.step(float(logs[monitor]))
        self._set_rate()

    def _set_rate(self) -> None:
        self.model.optimizer.learning_rate = self.document.peak_lr * self.rule.factor
