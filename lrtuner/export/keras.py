"""A self-contained module for Keras 3: a learning-rate schedule, or a callback for other units."""

from lrtuner.document import AnyDocument, ExportFidelity, ReactiveDocument, ScheduleDocument
from lrtuner.export import _formula, _plateau, _table
from lrtuner.export._base import Exporter, computed_in_float32
from lrtuner.export._keras_native import native
from lrtuner.export._module import grad_accum, module, summary, torch_class, written
from lrtuner.export._native import definition
from lrtuner.jsontext import digest

_SCHEDULE = '''# Keras counts micro-batches, and so many make an update: the optimizer's
# gradient_accumulation_steps, or 1 where it has none.
GRADIENT_ACCUMULATION_STEPS = {k}


# a name of its own: a saved model never finds the rates of another schedule by mistake
@keras.saving.register_keras_serializable(package="lrtuner", name="Schedule-{name}")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of each update; after the horizon it is held."""

    def __init__(self, gradient_accumulation_steps: int = GRADIENT_ACCUMULATION_STEPS) -> None:
        super().__init__()
        self.gradient_accumulation_steps = gradient_accumulation_steps
        precision = "float64" if keras.config.floatx() == "float64" else "float32"
        self.rates = keras.ops.convert_to_tensor(RATES, dtype=precision)

    def __call__(self, step):
        update = keras.ops.cast(step, "int32") // self.gradient_accumulation_steps
        return keras.ops.take(self.rates, keras.ops.clip(update, 0, TOTAL_STEPS))

    def get_config(self) -> dict:
        return {{"gradient_accumulation_steps": self.gradient_accumulation_steps}}
'''

_EPOCHS = '''def callback() -> keras.callbacks.LearningRateScheduler:
    """Sets the rate at the begin of every epoch."""
    return keras.callbacks.LearningRateScheduler(lambda epoch, _: learning_rate(epoch))
'''

_SECONDS = '''class Clock(keras.callbacks.Callback):
    """Sets the rate before every batch, by the seconds trained so far.

    They are in `elapsed`, without validation and what else lies between two epochs.
    """

    def __init__(self, elapsed: float = 0.0) -> None:
        super().__init__()
        self.elapsed = elapsed
        self._now = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._now = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._tick()
        self.model.optimizer.learning_rate = learning_rate(self.elapsed)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self.elapsed, self._now = self.elapsed + now - self._now, now
'''

_REACTIVE = '''class ReduceOnPlateau(keras.callbacks.Callback):
    """Sets the rate at the end of every {unit}. `plateau` is its state."""

    def __init__(self) -> None:
        super().__init__()
        self.plateau = Plateau()

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.model.optimizer.learning_rate = self.plateau.rate
{hook}
    def _look(self, logs: dict) -> None:
        if MONITOR not in logs:
            known = ", ".join(sorted(logs)) or "none"
            raise ValueError(f"no metric {{MONITOR}} here; there is: {{known}}")
        self.model.optimizer.learning_rate = self.plateau.step(float(logs[MONITOR]))
'''

_AT_EPOCHS = """
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._look(logs or {})
"""

_AT_UPDATES = """        self._updates = self._made()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._made() > self._updates:  # no update where gradients are only accumulated
            self._updates = self._made()
            self._look(logs or {})

    def _made(self) -> int:
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
"""


def render(schedule: ScheduleDocument) -> str:
    """The module's source: `Schedule`, or in epochs `callback()`, or in seconds `Clock`."""
    imports = [*_formula.imports(schedule), "import keras"]
    if schedule.unit == "epoch":
        return module(_doc_epochs(schedule), imports, _formula.source(schedule), _EPOCHS)
    if schedule.unit == "second":
        imports.append("import time")
        return module(_doc_seconds(schedule), imports, _formula.source(schedule), _SECONDS)
    k, name = grad_accum(schedule), digest(schedule.bare().document).removeprefix("sha256:")[:12]
    parts = [_table.source(schedule), _SCHEDULE.format(k=k, name=name)]
    # Keras' own classes count micro-batches too, and would move on between them
    if k == 1 and (own := native(schedule)):
        returns = "keras.optimizers.schedules.LearningRateSchedule"
        doc = "The same by a class of Keras' own: a model saved with it loads without this module."
        parts.append(definition(own, schedule, returns=returns, doc=doc))
    return module(_doc(schedule), [*imports, "import numpy as np"], *parts)


def _doc(schedule: ScheduleDocument) -> str:
    arguments = "learning_rate=Schedule()"
    if grad_accum(schedule) > 1:
        more = "gradient_accumulation_steps=GRADIENT_ACCUMULATION_STEPS"
        arguments = f"\n        {arguments}, {more}\n    "
    return _told(
        schedule,
        f"""\
    optimizer = keras.optimizers.{torch_class(schedule)}({arguments})

A saved model has the count of its updates: import this module, load the model, and fit goes on.""",
    )


def _doc_epochs(schedule: ScheduleDocument) -> str:
    return _told(
        schedule,
        f"""\
    optimizer = keras.optimizers.{torch_class(schedule)}(learning_rate=PEAK_LR)
    model.fit(..., epochs=TOTAL_STEPS, callbacks=[callback()])

To resume, tell `fit` the `initial_epoch`.""",
    )


def _doc_seconds(schedule: ScheduleDocument) -> str:
    return _told(
        schedule,
        f"""\
    optimizer = keras.optimizers.{torch_class(schedule)}(learning_rate=PEAK_LR)
    clock = Clock()
    model.fit(..., callbacks=[clock])

To resume, keep `clock.elapsed` with the model and give it to the next `Clock`.""",
    )


def render_reactive(document: ReactiveDocument) -> str:
    """The module's source: a callback that follows the rule of torch's `ReduceLROnPlateau`."""
    monitor, patience = document.body.monitor, document.body.patience + 1
    looked, hook = f"It looks at `{monitor}` at the end of every epoch.", _AT_EPOCHS
    if document.unit == "step":
        looked = f"It looks at `{monitor}` after every update: a mean since the epoch began."
        hook = _AT_UPDATES
    doc = _told(
        document,
        f"""\
    optimizer = keras.optimizers.{torch_class(document)}(learning_rate=PEAK_LR)
    model.fit(..., callbacks=[ReduceOnPlateau()])

{looked}

Keras' own `ReduceLROnPlateau` has another rule: it drops at the value before (its patience would
be {patience}), counts otherwise in the cooldown, and knows absolute thresholds only.""",
    )
    callback = _REACTIVE.format(unit=document.unit, hook=hook)
    return module(doc, ["import keras", "import math"], _plateau.source(document), callback)


def _told(document: AnyDocument, usage: str) -> str:
    return f"""
Learning-rate schedule for Keras: {summary(document)}.

{usage}

{written(document)}
"""


def fidelity(schedule: ScheduleDocument) -> ExportFidelity:
    """That of a table where updates are counted; a callback computes each rate when it is due."""
    return _table.fidelity(schedule) if schedule.unit == "step" else computed_in_float32(schedule)


EXPORTER = Exporter(
    title="a self-contained module with the schedule for Keras",
    media_type="text/x-python",
    filename="schedule_keras.py",
    closed_form=render,
    judge=fidelity,
    reactive=render_reactive,
)
