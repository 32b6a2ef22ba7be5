"""Rates that a real Keras fit uses: of the exported module and of the loader."""

from types import SimpleNamespace

import numpy as np
import pytest

from lrtuner.document import load
from lrtuner.errors import HorizonMismatchError, InvalidInputError, UnsupportedError
from lrtuner.export import EXPORTERS
from tests.conformance.replays.torch import load_module
from tests.conformance.samples import SAMPLES, config, reactive

pytestmark = [
    pytest.mark.frameworks,
    # Keras 3.15 on torch, wherever it turns a tensor into an array
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

UPDATES = 12
SINGLE = 6e-8  # rounding to single precision, relative to the peak

DOCUMENT = {
    "total_steps": UPDATES,
    "peak_lr": 0.3,
    "warmup": {"steps": 2.5},
    "body": {"family": "cosine", "decay_steps": 9.0, "end_factor": 0.01},
}


@pytest.fixture
def keras():
    return pytest.importorskip("keras")


def document(**fields):
    context = {"steps_per_epoch": 3, "batch_size": 1, "grad_accum": fields.pop("grad_accum", 1)}
    return load({**DOCUMENT, "context": context, **fields})


def exported(schedule):
    return load_module(EXPORTERS["keras"].render(schedule))


def from_export(schedule):
    return exported(schedule)["Schedule"]()


def from_loader(schedule):
    from lrtuner.integrations.keras import scheduler  # noqa: PLC0415 - it imports keras

    return scheduler(schedule, gradient_accumulation_steps=schedule.context.grad_accum)


every_way = pytest.mark.parametrize("rate_of", [from_export, from_loader])


def model_with(keras, rate, accumulated=1, metrics=()):
    """One weight whose gradient is always -1: each update adds the rate to it."""
    one = {"use_bias": False, "kernel_initializer": "zeros", "dtype": "float64"}
    model = keras.Sequential([keras.Input([1], dtype="float64"), keras.layers.Dense(1, **one)])
    steps = accumulated if accumulated > 1 else None
    optimizer = keras.optimizers.SGD(rate, gradient_accumulation_steps=steps)
    model.compile(optimizer, "mae", metrics=list(metrics))
    return model


def fitted(keras, model, batches, callbacks=(), **kwargs):
    """Train on so many batches per epoch; how much each of them added to the weight."""
    weights = [float(model.layers[-1].kernel.numpy().item())]

    class Weights(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights.append(float(self.model.layers[-1].kernel.numpy().item()))

    x, y = np.ones((batches, 1)), np.full((batches, 1), 1e6)
    callbacks = [*callbacks, Weights()]
    model.fit(x, y, batch_size=1, shuffle=False, verbose=0, callbacks=callbacks, **kwargs)
    return np.diff(weights)


def assert_rates(used, expected, peak=DOCUMENT["peak_lr"]):
    np.testing.assert_allclose(used, expected, rtol=0, atol=SINGLE * peak)


@every_way
@pytest.mark.parametrize("accumulated", [1, 4])
def test_every_update_runs_at_its_rate_and_the_last_rate_is_held(keras, rate_of, accumulated):
    schedule = document(grad_accum=accumulated)
    model = model_with(keras, rate_of(schedule), accumulated)
    added = fitted(keras, model, accumulated * (UPDATES + 5))
    assert np.all(added.reshape(-1, accumulated)[:, :-1] == 0)
    assert_rates(added[accumulated - 1 :: accumulated], schedule(np.arange(UPDATES + 5)))


@every_way
@pytest.mark.parametrize("accumulated", [1, 4])
def test_a_saved_model_goes_on_in_the_middle(keras, rate_of, accumulated, tmp_path):
    schedule = document(grad_accum=accumulated)
    batches = accumulated * UPDATES
    whole = fitted(keras, model_with(keras, rate_of(schedule), accumulated), batches)
    model = model_with(keras, rate_of(schedule), accumulated)
    first = fitted(keras, model, 10)  # with accumulation, in the middle of an update
    model.save(tmp_path / "model.keras")
    second = fitted(keras, keras.models.load_model(tmp_path / "model.keras"), batches - 10)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=0, atol=1e-15)


def test_the_accumulation_of_this_training_is_saved(keras):
    schedule = document(grad_accum=4)
    rate = exported(schedule)["Schedule"](gradient_accumulation_steps=2)
    saved = keras.optimizers.schedules.serialize(rate)
    again = keras.optimizers.schedules.deserialize(saved)
    assert_rates(again(np.arange(2 * UPDATES)).tolist(), np.repeat(schedule.values(), 2))


def test_a_saved_schedule_is_never_taken_for_another(keras):
    ours = document()
    saved = keras.optimizers.schedules.serialize(from_export(ours))
    from_export(document(peak_lr=0.7))  # the same class name, registered later
    rate = keras.optimizers.schedules.deserialize(saved)
    assert_rates(rate(np.arange(UPDATES)).tolist(), ours.values())


def callback_from_export(schedule):
    return exported(schedule)["callback"]()


every_callback = pytest.mark.parametrize("callback_of", [callback_from_export, from_loader])


@every_callback
def test_epochs_run_at_their_rate_also_from_an_initial_epoch_on(keras, callback_of):
    schedule = document(unit="epoch")
    expected = np.repeat(schedule(np.arange(UPDATES + 2)), 2)
    model = model_with(keras, schedule.peak_lr)
    first = fitted(keras, model, 2, [callback_of(schedule)], epochs=5)
    rest = {"initial_epoch": 5, "epochs": UPDATES + 2}
    second = fitted(keras, model, 2, [callback_of(schedule)], **rest)
    assert_rates(np.concatenate([first, second]), expected)


def clock_from_export(schedule, clock):
    module = exported(schedule)
    module["time"] = SimpleNamespace(monotonic=clock)
    return module["Clock"]()


def clock_from_loader(schedule, clock):
    from lrtuner.integrations.keras import scheduler  # noqa: PLC0415

    return scheduler(schedule, clock=clock)


@pytest.mark.parametrize("clock_of", [clock_from_export, clock_from_loader])
def test_seconds_count_while_batches_are_trained_and_can_be_resumed(keras, clock_of):
    schedule = document(unit="second")
    now = [1000.0]

    class Time(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            now[0] += 0.75

        def on_test_batch_begin(self, batch, logs=None):
            now[0] += 500.0

    validated = {"epochs": 3, "validation_data": (np.ones((1, 1)), np.ones((1, 1)))}
    model = model_with(keras, schedule.peak_lr)
    clock = clock_of(schedule, lambda: now[0])
    first = fitted(keras, model, 3, [clock, Time()], **validated)
    assert clock.elapsed == 9 * 0.75
    now[0] += 1e5
    resumed = clock_of(schedule, lambda: now[0])
    resumed.elapsed = clock.elapsed
    second = fitted(keras, model, 3, [resumed, Time()], **validated)
    assert_rates(np.concatenate([first, second]), schedule(0.75 * np.arange(18)))


def plateau_from_export(plateau):
    return exported(plateau)["ReduceOnPlateau"]()


every_plateau = pytest.mark.parametrize("callback_of", [plateau_from_export, from_loader])

VALUES = [4.0, 3.0, 3.0, 3.5, 2.5, 2.5, 2.5, 2.5, float("nan"), 2.0, 2.0, 2.0, 2.0, 2.0]


def plateau(unit="epoch", patience=1):
    settings = {"patience": patience, "factor": 0.5, "cooldown": 1, "min_factor": 0.1}
    return reactive(**settings, monitor="score").model_copy(update={"unit": unit})


def scripted(keras, hook):
    """A metric and the callback that gives it the next value."""

    class Score(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="score")
            self.value = self.add_variable((), "zeros")

        def update_state(self, *args, **kwargs):
            pass

        def reset_state(self):
            pass

        def result(self):
            return self.value + 0.0

    score, values = Score(), iter(VALUES)

    class Script(keras.callbacks.Callback):
        pass

    setattr(Script, hook, lambda self, *args, **kwargs: score.value.assign(next(values)))
    return score, Script()


@every_plateau
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_a_plateau_in_a_real_fit_follows_our_rule(keras, callback_of, unit):
    schedule = with_context(plateau(unit))
    hook = {"epoch": "on_epoch_begin", "step": "on_train_batch_begin"}[unit]
    score, script = scripted(keras, hook)
    model = model_with(keras, 0.7, metrics=[score])
    epochs, batches = (len(VALUES), 1) if unit == "epoch" else (1, len(VALUES))
    used = fitted(keras, model, batches, [script, callback_of(schedule)], epochs=epochs)
    expected = schedule.peak_lr * np.array([1.0, *schedule.body.factors(VALUES)])
    assert len(set(expected)) == 4
    assert_rates(used, expected[:-1], schedule.peak_lr)
    assert_rates(model.optimizer.learning_rate.numpy(), expected[-1], schedule.peak_lr)


@every_plateau
def test_a_plateau_in_steps_looks_once_per_update(keras, callback_of):
    schedule = with_context(plateau("step", patience=0))
    score, script = scripted(keras, "on_train_batch_begin")
    model = model_with(keras, 0.7, accumulated=2, metrics=[score])
    callback = callback_of(schedule)
    used = [
        *fitted(keras, model, 5, [script, callback]),
        *fitted(keras, model, 9, [script, callback]),
    ]
    expected = schedule.peak_lr * np.array([1.0, *schedule.body.factors(VALUES[1::2])])
    assert len(set(expected)) == 4
    assert_rates(used[1::2], expected[:-1], schedule.peak_lr)


def with_context(schedule):
    return schedule.model_copy(update={"context": document().context})


@every_plateau
def test_a_plateau_resumes_with_its_state(keras, callback_of):
    schedule = with_context(plateau())
    score, script = scripted(keras, "on_epoch_begin")
    model = model_with(keras, 0.7, metrics=[score])
    first, second = callback_of(schedule), callback_of(schedule)
    used = fitted(keras, model, 1, [script, first], epochs=6)
    state = "plateau" if hasattr(first, "plateau") else "rule"
    vars(getattr(second, state)).update(vars(getattr(first, state)))
    used = [*used, *fitted(keras, model, 1, [script, second], epochs=len(VALUES) - 6)]
    expected = schedule.peak_lr * np.array([1.0, *schedule.body.factors(VALUES)])
    assert_rates(used, expected[:-1], schedule.peak_lr)


@every_plateau
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_a_plateau_whose_metric_is_missing_names_those_there_are(keras, callback_of, unit):
    callback = callback_of(with_context(plateau(unit)))
    with pytest.raises(ValueError, match="no metric score here; there is: loss"):
        fitted(keras, model_with(keras, 0.7), 2, [callback])


def rates_of(keras, rate, steps):
    """One step at a time, as an optimizer asks."""
    asked = [rate(keras.ops.convert_to_tensor(int(step), dtype="int32")) for step in steps]
    return np.array([float(keras.ops.convert_to_numpy(rate)) for rate in asked])


LONG = {"total_steps": 1_000_000, "warmup": None}


def body(family, **parameters):
    return {"body": {"family": family, **parameters}}


NATIVE = {
    "exponential": ("ExponentialDecay", body("exponential", decay_steps=3.7, rate=0.7)),
    "steps": ("PiecewiseConstantDecay", body("step", every=3, rate=0.5)),
    "long steps": ("PiecewiseConstantDecay", body("step", every=79_190, rate=0.9) | LONG),
    "step, odd length": ("PiecewiseConstantDecay", body("step", every=2.5, rate=0.5, offset=1)),
    "step, rounding": (
        "PiecewiseConstantDecay",
        body("step", every=9.6, rate=0.5) | {"total_steps": 200},
    ),
    "multistep": (
        "PiecewiseConstantDecay",
        body("multistep", milestones=[3, 7.5], factors=[1.0, 0.1, 0.3]),
    ),
    "floor": ("PiecewiseConstantDecay", body("step", every=3, rate=0.5) | {"min_factor": 0.2}),
    "inverse time": ("InverseTimeDecay", body("inverse_time", decay_steps=3.0, rate=0.5)),
    "inverse staircase": (
        "PiecewiseConstantDecay",
        body("inverse_time", decay_steps=3.0, rate=0.5, staircase=True),
    ),
    "polynomial": (
        "PolynomialDecay",
        body("polynomial", decay_steps=10.5, power=2.0, end_factor=0.1),
    ),
    "long polynomial": ("PolynomialDecay", body("polynomial", decay_steps=1e6) | LONG),
    "cosine": ("CosineDecay", body("cosine", decay_steps=12.0)),
    "cosine, floor below": (
        "CosineDecay",
        body("cosine", decay_steps=12.0, end_factor=0.1) | {"min_factor": 0.05},
    ),
    "warmup and cosine": ("CosineDecay", {"warmup": {"steps": 2.5}}),
    "long warmup and cosine": (
        "CosineDecay",
        {
            "total_steps": 1_000_000,
            "warmup": {"steps": 33333.3},
            **body("cosine", decay_steps=966666.7),
        },
    ),
    "restarts": ("CosineDecayRestarts", body("cosine_restarts", first_steps=4, m_mult=0.7)),
    "restarts to a floor": (
        "CosineDecayRestarts",
        body("cosine_restarts", first_steps=5, end_factor=0.1),
    ),
}

NOT_NATIVE = {
    "constant": body("constant"),
    "warmup but no cosine": {
        "total_steps": 380,
        "warmup": {"steps": 19.0},
        **body("polynomial", decay_steps=361.0),
    },
    "cosine warmup": {
        "total_steps": 380,
        "warmup": {"steps": 19.0, "curve": "cosine"},
        **body("cosine", decay_steps=361.0),
    },
    "cooldown": {"total_steps": 380, **body("constant"), "cooldown": {"start": 300, "steps": 80}},
    "offset": {"total_steps": 380, **body("cosine", decay_steps=380, offset=3)},
    "growing cycles": {"total_steps": 380, **body("cosine_restarts", first_steps=40, t_mult=2)},
    "cycles whose length has an inexact inverse": {
        "total_steps": 380,
        **body("cosine_restarts", first_steps=41),
    },
    "many steps": {"total_steps": 380, **body("step", every=7, rate=0.97)},
    "odd cycles": {"total_steps": 970, **body("cosine_restarts", first_steps=9.6)},
    "smaller cycles to a floor": {
        "total_steps": 380,
        **body("cosine_restarts", first_steps=40, m_mult=0.5, end_factor=0.1),
    },
    "floor": {
        "total_steps": 380,
        **body("exponential", decay_steps=100, rate=0.1),
        "min_factor": 0.2,
    },
    "steep end": {"total_steps": 1_000_000, **body("polynomial", decay_steps=1e6, power=0.3)},
    "accumulation": body("step", every=3, rate=0.5) | {"grad_accum": 4},
}


@pytest.mark.parametrize(("name", "fields"), NATIVE.values(), ids=NATIVE)
def test_keras_own_class_has_the_same_rates(keras, name, fields):
    schedule = document(**{"warmup": None, **fields})
    module = exported(schedule)
    own = module["native_schedule"]()
    assert type(own) is getattr(keras.optimizers.schedules, name)
    assert_agrees(keras, schedule, module)
    saved = keras.optimizers.schedules.serialize(own)
    assert saved["registered_name"] is None
    assert keras.optimizers.schedules.deserialize(saved).get_config() == own.get_config()


def assert_agrees(keras, schedule, module):
    """As far as its docstring says."""
    end, doc = schedule.total_steps, module["native_schedule"].__doc__
    steps = np.arange(end) if end <= 2000 else corners(schedule)
    if "every step" in doc:
        steps = np.append(steps, [end, end + 1, 2 * end, 10 * end])
    else:
        assert "up to the horizon" in doc
    rates = rates_of(keras, module["native_schedule"](), steps)
    np.testing.assert_allclose(rates, schedule(steps), rtol=0, atol=2e-6 * schedule.peak_lr)


def corners(schedule):
    """Steps of a long schedule: around where it jumps, and others evenly."""
    rates = schedule.values()
    jumps = np.flatnonzero(np.abs(np.diff(rates)) > 0.01 * rates[:-1])
    steps = [*jumps, *(jumps + 1), *np.linspace(0, schedule.total_steps - 1, 300).astype(int)]
    return np.unique(steps)


def test_how_far_keras_own_class_agrees_is_told(keras):
    holds = exported(document(warmup=None))["native_schedule"].__doc__
    assert "every step" in holds
    goes_on = document(warmup=None, body={"family": "exponential", "decay_steps": 5, "rate": 0.5})
    doc = exported(goes_on)["native_schedule"].__doc__
    assert "up to the horizon" in doc


def test_keras_own_classes_of_all_samples_agree(keras):
    found = 0
    for schedule in SAMPLES.values():
        module = exported(config(schedule))
        if "native_schedule" in module:
            assert_agrees(keras, schedule, module)
            found += 1
    assert found > 10


@pytest.mark.parametrize("fields", NOT_NATIVE.values(), ids=NOT_NATIVE)
def test_where_no_class_of_keras_has_the_rates_none_is_offered(keras, fields):
    module = exported(document(**{"warmup": None, **fields}))
    assert "Schedule" in module
    assert "native_schedule" not in module


def test_the_stated_error_is_that_of_single_precision(keras):
    schedule = document()
    rates = from_export(schedule)(np.arange(UPDATES + 2)).tolist()
    error = np.max(np.abs(rates - schedule(np.arange(UPDATES + 2)))) / schedule.peak_lr
    stated = EXPORTERS["keras"].fidelity(schedule)
    assert stated.fidelity == "exact"
    assert stated.max_rel_error == pytest.approx(error, rel=1e-6)
    assert error > 1e-9


@every_way
def test_rates_are_double_where_keras_is(keras, rate_of):
    schedule = document()
    keras.config.set_floatx("float64")
    try:
        rate = rate_of(schedule)
        rates = keras.ops.convert_to_numpy(rate(np.arange(UPDATES)))
    finally:
        keras.config.set_floatx("float32")
    np.testing.assert_allclose(rates, schedule.values(), rtol=1e-15)


def test_another_horizon_is_refused_unless_asked_for(keras):
    from lrtuner.integrations.keras import scheduler  # noqa: PLC0415

    schedule = document()
    with pytest.raises(HorizonMismatchError, match="12 steps, this training takes 24"):
        scheduler(schedule, total_steps=24)
    rate = scheduler(schedule, total_steps=24, rescale=True)
    expected = schedule.rescaled(24)(np.arange(30))
    assert_rates(rate(np.arange(30)).tolist(), expected)
    with pytest.raises(UnsupportedError, match="no horizon"):
        scheduler(plateau(), total_steps=24)


def test_a_schedule_too_long_for_a_table_is_refused(keras):
    from lrtuner.integrations.keras import scheduler  # noqa: PLC0415

    schedule = document(total_steps=5_000_001)
    stated = EXPORTERS["keras"].fidelity(schedule)
    assert (stated.fidelity, "5000001 rates" in stated.reason) == ("unsupported", True)
    with pytest.raises(UnsupportedError, match="5000001 rates"):
        scheduler(schedule)
    assert EXPORTERS["keras"].fidelity(document(total_steps=5_000_000)).fidelity == "exact"
    in_epochs = document(total_steps=5_000_001, unit="epoch")
    assert EXPORTERS["keras"].fidelity(in_epochs).fidelity == "exact"
    assert issubclass(UnsupportedError, InvalidInputError)
