"""Rates that real optax update loops use: of the exported module and of the loader."""

import pickle
import random

import numpy as np
import pytest

from lrtuner.document import load
from lrtuner.errors import HorizonMismatchError, UnsupportedError
from lrtuner.export import EXPORTERS
from tests.conformance.replays.torch import load_module
from tests.conformance.samples import SAMPLES, config, reactive

pytestmark = pytest.mark.frameworks

UPDATES = 12
SINGLE = 6e-8  # rounding to single precision, relative to the peak

DOCUMENT = {
    "total_steps": UPDATES,
    "peak_lr": 0.3,
    "warmup": {"steps": 2.5},
    "body": {"family": "cosine", "decay_steps": 9.0, "end_factor": 0.01},
    "context": {"steps_per_epoch": 3, "batch_size": 1},
}


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


@pytest.fixture
def optax():
    return pytest.importorskip("optax")


def document(**fields):
    return load(DOCUMENT | fields)


def exported(schedule):
    return load_module(EXPORTERS["optax"].render(schedule))


def from_export(schedule):
    return exported(schedule)["schedule"]


def from_loader(schedule):
    from lrtuner.integrations.optax import scheduler  # noqa: PLC0415 - it imports jax

    return scheduler(schedule)


every_way = pytest.mark.parametrize("rate_of", [from_export, from_loader])


def assert_rates(used, expected, peak=DOCUMENT["peak_lr"]):
    np.testing.assert_allclose(used, expected, rtol=0, atol=SINGLE * peak)


class Training:
    """One number, 0 before each update and with a gradient of -1: after it, it is the rate."""

    def __init__(self, jax, optax, optimizer, state=None):
        def update(state):
            zero = jax.numpy.zeros(())
            changes, state = optimizer.update(jax.numpy.full((), -1.0), state, zero)
            return optax.apply_updates(zero, changes), state

        self.state = optimizer.init(jax.numpy.zeros(())) if state is None else state
        self._update = jax.jit(update)

    def run(self, updates):
        return [self._once() for _ in range(updates)]

    def _once(self):
        rate, self.state = self._update(self.state)
        return float(rate)


@every_way
def test_every_update_runs_at_its_rate_and_the_last_rate_is_held(jax, optax, rate_of):
    schedule = document()
    training = Training(jax, optax, optax.sgd(rate_of(schedule)))
    assert_rates(training.run(UPDATES + 5), schedule(np.arange(UPDATES + 5)))


@every_way
def test_accumulated_micro_batches_are_one_update(jax, optax, rate_of):
    schedule = document()
    optimizer = optax.MultiSteps(optax.sgd(rate_of(schedule)), every_k_schedule=4)
    used = np.array(Training(jax, optax, optimizer).run(4 * UPDATES)).reshape(-1, 4)
    assert np.all(used[:, :-1] == 0)
    assert_rates(used[:, -1], schedule.values())


@every_way
def test_a_restored_state_goes_on_in_the_middle(jax, optax, rate_of):
    schedule = document()
    first = Training(jax, optax, optax.adam(rate_of(schedule)))
    whole = Training(jax, optax, optax.adam(rate_of(schedule))).run(UPDATES)
    used = first.run(5)
    state = pickle.loads(pickle.dumps(jax.device_get(first.state)))
    second = Training(jax, optax, optax.adam(rate_of(schedule)), state)
    assert used + second.run(UPDATES - 5) == whole


@every_way
def test_the_rate_can_be_traced_in_a_scan_and_injected(jax, optax, rate_of):
    schedule = document()
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=rate_of(schedule))
    zero = jax.numpy.zeros(())

    def step(state, _):
        _, state = optimizer.update(zero, state, zero)
        return state, state.hyperparams["learning_rate"]

    _, rates = jax.lax.scan(step, optimizer.init(zero), length=UPDATES + 5)
    assert_rates(rates, schedule(np.arange(UPDATES + 5)))


@every_way
def test_epochs_are_counted_in_updates(jax, optax, rate_of):
    schedule = document(unit="epoch")
    training = Training(jax, optax, optax.sgd(rate_of(schedule)))
    expected = np.repeat(schedule(np.arange(UPDATES + 2)), 3)
    assert_rates(training.run(3 * (UPDATES + 2)), expected)


def test_epochs_need_their_steps_and_seconds_are_refused(jax):
    from lrtuner.integrations.optax import scheduler  # noqa: PLC0415

    no_context = document(unit="epoch", context=None)
    rates = scheduler(no_context, steps_per_epoch=2)(np.arange(2 * UPDATES))
    assert_rates(rates, np.repeat(no_context.values(), 2))
    other = scheduler(document(unit="epoch"), steps_per_epoch=2)(np.arange(2 * UPDATES))
    assert_rates(other, rates)
    with pytest.raises(UnsupportedError, match="steps_per_epoch"):
        scheduler(no_context)
    with pytest.raises(UnsupportedError, match="seconds"):
        scheduler(document(unit="second"))
    for refused in (no_context, document(unit="second")):
        assert EXPORTERS["optax"].fidelity(refused).fidelity == "unsupported"


def test_the_stated_error_is_that_of_single_precision(jax):
    schedule = document()
    rates = np.array(from_export(schedule)(np.arange(UPDATES + 2)), dtype=float)
    error = np.max(np.abs(rates - schedule(np.arange(UPDATES + 2)))) / schedule.peak_lr
    stated = EXPORTERS["optax"].fidelity(schedule)
    assert stated.fidelity == "exact"
    assert stated.max_rel_error == pytest.approx(error, rel=1e-6)
    assert error > 1e-9


@every_way
def test_rates_are_double_where_jax_is(jax, rate_of):
    schedule = document()
    with jax.enable_x64(True):
        rates = jax.jit(rate_of(schedule))(jax.numpy.arange(UPDATES))
    np.testing.assert_allclose(rates, schedule.values(), rtol=1e-15)


def test_another_horizon_is_refused_unless_asked_for(jax):
    from lrtuner.integrations.optax import scheduler  # noqa: PLC0415

    schedule = document()
    with pytest.raises(HorizonMismatchError, match="12 steps, this training takes 24"):
        scheduler(schedule, total_steps=24)
    rates = scheduler(schedule, total_steps=24, rescale=True)(np.arange(30))
    assert_rates(rates, schedule.rescaled(24)(np.arange(30)))
    with pytest.raises(UnsupportedError, match="no horizon"):
        scheduler(reactive(), total_steps=24)


def test_a_schedule_too_long_for_a_table_is_refused(jax):
    from lrtuner.integrations.optax import scheduler  # noqa: PLC0415

    schedule = document(total_steps=5_000_001)
    stated = EXPORTERS["optax"].fidelity(schedule)
    assert (stated.fidelity, "5000001 rates" in stated.reason) == ("unsupported", True)
    with pytest.raises(UnsupportedError, match="5000001 rates"):
        scheduler(schedule)


def plateau_from_export(plateau):
    module = exported(plateau)
    return module["PEAK_LR"], module["Plateau"]()


def plateau_from_loader(plateau):
    from lrtuner.integrations.optax import scheduler  # noqa: PLC0415

    rate = scheduler(plateau)
    return rate.rate, rate


VALUES = [4.0, 3.0, 3.0, 3.5, 2.5, 2.5, 2.5, 2.5, float("nan"), 2.0, 2.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("plateau_of", [plateau_from_export, plateau_from_loader])
def test_a_plateau_sets_the_rate_between_jitted_updates(jax, optax, plateau_of):
    schedule = reactive(patience=1, factor=0.5, cooldown=1, min_factor=0.1)
    peak, plateau = plateau_of(schedule)
    training = Training(jax, optax, optax.inject_hyperparams(optax.sgd)(learning_rate=peak))
    used = []
    for value in VALUES:
        used += training.run(1)
        training.state.hyperparams["learning_rate"] = plateau.step(value)
    expected = schedule.peak_lr * np.array([1.0, *schedule.body.factors(VALUES)])
    assert len(set(expected)) == 4
    assert_rates(used, expected[:-1], schedule.peak_lr)


def test_the_exported_rule_is_ours_in_every_mode():
    rng = random.Random(0)
    for _ in range(200):
        schedule = reactive(
            mode=rng.choice(["min", "max"]),
            threshold_mode=rng.choice(["rel", "abs"]),
            threshold=rng.choice([0.0, 0.05, 0.3, 1.0, 1.5]),
            patience=rng.randrange(3),
            cooldown=rng.randrange(3),
            factor=rng.choice([0.5, 0.9]),
            min_factor=rng.choice([0.0, 0.3]),
        )
        values = [rng.choice([rng.gauss(0, 1), 1.0, 1.04, 0.96, float("nan")]) for _ in range(60)]
        plateau = exported(schedule)["Plateau"]()
        rates = [plateau.step(value) for value in values]
        expected = schedule.peak_lr * np.array(schedule.body.factors(values))
        np.testing.assert_allclose(rates, expected, rtol=1e-14)


def body(family, **parameters):
    return {"body": {"family": family, **parameters}}


def warmed(steps, **warmup):
    return {"total_steps": 380, "warmup": {"steps": steps, **warmup}}


def cooled(start, steps, **cooldown):
    return {"total_steps": 380, "cooldown": {"start": start, "steps": steps, **cooldown}}


COSINE = body("cosine", decay_steps=361.0)

NATIVE = {
    "constant": ("constant_schedule", body("constant")),
    "linear": ("linear_schedule", body("polynomial", decay_steps=12)),
    "polynomial": (
        "polynomial_schedule",
        body("polynomial", decay_steps=10.5, power=2.0, end_factor=0.1),
    ),
    "cosine": ("cosine_decay_schedule", body("cosine", decay_steps=12, end_factor=0.1)),
    "exponential": ("exponential_decay", body("exponential", decay_steps=3.7, rate=0.7)),
    "exponential with a floor": (
        "exponential_decay",
        body("exponential", decay_steps=3.7, rate=0.7) | {"min_factor": 0.3},
    ),
    "flat exponential with a floor": (
        "exponential_decay",
        body("exponential", decay_steps=3.7, rate=1.0) | {"min_factor": 0.3},
    ),
    "steps": ("piecewise_constant_schedule", body("step", every=3, rate=0.5)),
    "long steps": (
        "piecewise_constant_schedule",
        body("step", every=79_190, rate=0.9) | {"total_steps": 1_000_000},
    ),
    "step, odd length": (
        "piecewise_constant_schedule",
        body("step", every=2.5, rate=0.5, offset=1),
    ),
    "step, rounding": (
        "piecewise_constant_schedule",
        body("step", every=9.6, rate=0.5) | {"total_steps": 200},
    ),
    "multistep": (
        "piecewise_constant_schedule",
        body("multistep", milestones=[3, 7.5], factors=[0.5, 1.0, 0.0]),
    ),
    "warmup": ("join_schedules", body("constant") | warmed(19.0)),
    "warmup and cosine": ("join_schedules", COSINE | warmed(19.0)),
    "odd warmup and cosine": ("join_schedules", COSINE | warmed(19.3)),
    "warmup and linear": (
        "join_schedules",
        body("polynomial", decay_steps=361, end_factor=0.1) | warmed(19.0),
    ),
    "warmup and exponential": (
        "join_schedules",
        body("exponential", decay_steps=99, rate=0.3) | warmed(19.0),
    ),
    "warmup and steps": ("join_schedules", body("step", every=100, rate=0.3) | warmed(19.3)),
    "warmup and milestones": (
        "join_schedules",
        body("multistep", milestones=[100, 200], factors=[1.0, 0.1, 0.01]) | warmed(19.0),
    ),
    "WSD": ("join_schedules", body("constant") | warmed(19.0) | cooled(300, 80)),
    "cosine cooldown": (
        "join_schedules",
        body("constant") | cooled(300.5, 79.5, curve="cosine", end_factor=0.1),
    ),
    "power cooldown": (
        "join_schedules",
        body("constant") | cooled(300, 80, curve="power", power=2.0),
    ),
    "three phases": (
        "join_schedules",
        body("cosine", decay_steps=113.0, end_factor=0.04)
        | warmed(113.0, start_factor=0.04)
        | cooled(226.0, 153.0, curve="cosine", end_factor=4e-6),
    ),
    "restarts": (
        "join_schedules",
        body("cosine_restarts", first_steps=20, t_mult=2, m_mult=0.7, end_factor=0.05)
        | warmed(19.0),
    ),
    "two cycles": (
        "join_schedules",
        body("cosine_restarts", first_steps=4, cycles=2, end_factor=0.1),
    ),
    "long": (
        "join_schedules",
        body("cosine", decay_steps=966666.7)
        | {"total_steps": 1_000_000, "warmup": {"steps": 33333.3}},
    ),
}

NOT_NATIVE = {
    "another warmup": COSINE | warmed(19.0, curve="cosine"),
    "another cooldown": body("constant") | cooled(300, 80, curve="one_minus_sqrt"),
    "a cooldown over a decay": body("polynomial", decay_steps=380) | cooled(300, 80),
    "inverse time": body("inverse_time", decay_steps=30, rate=0.5) | {"total_steps": 380},
    "cyclic": body("cyclic", up=20, down=30, base_factor=0.1) | {"total_steps": 380},
    "offset": body("cosine", decay_steps=380, offset=3) | {"total_steps": 380},
    "floor": body("cosine", decay_steps=380) | {"total_steps": 380, "min_factor": 0.1},
    "many steps": body("step", every=7, rate=0.97) | {"total_steps": 380},
    "many cycles": body("cosine_restarts", first_steps=4) | {"total_steps": 380},
    "a short end of a long run": body("constant")
    | {"total_steps": 1_000_000, "cooldown": {"start": 999_899.7, "steps": 100.3}},
}


@pytest.mark.parametrize(("name", "fields"), NATIVE.values(), ids=NATIVE)
def test_optax_own_functions_have_the_same_rates(jax, name, fields):
    schedule = document(**{"warmup": None, **fields})
    text = EXPORTERS["optax"].render(schedule)
    assert f"return optax.{name}(" in text
    assert_agrees(jax, schedule, load_module(text))


def assert_agrees(jax, schedule, module):
    """As far as its docstring says."""
    end, doc = schedule.total_steps, module["native_schedule"].__doc__
    steps = np.arange(end)
    if "every step" in doc:
        steps = np.append(steps, [end, end + 1, 2 * end, 10 * end])
    else:
        assert "up to the horizon" in doc
    rate = module["native_schedule"]()
    rates = jax.jit(lambda counts: rate(counts) + 0.0 * counts)(jax.numpy.asarray(steps))
    np.testing.assert_allclose(rates, schedule(steps), rtol=0, atol=2e-6 * schedule.peak_lr)


def test_how_far_optax_own_functions_agree_is_told(optax):
    holds = exported(document())["native_schedule"].__doc__
    assert "every step" in holds
    goes_on = document(warmup=None, **body("exponential", decay_steps=5, rate=0.5))
    assert "up to the horizon" in exported(goes_on)["native_schedule"].__doc__


def test_optax_own_functions_of_all_samples_agree(jax, optax):
    found = 0
    for schedule in SAMPLES.values():
        module = exported(config(schedule))
        if "native_schedule" in module:
            assert_agrees(jax, schedule, module)
            found += 1
    assert found > 10


@pytest.mark.parametrize("fields", NOT_NATIVE.values(), ids=NOT_NATIVE)
def test_where_optax_has_not_the_rates_nothing_is_offered(optax, fields):
    module = exported(document(**{"warmup": None, **fields}))
    assert "schedule" in module
    assert "native_schedule" not in module
