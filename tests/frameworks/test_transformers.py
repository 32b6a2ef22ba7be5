"""Schedules in real runs of transformers' Trainer: ours, the exported module's, and its own."""

import re

import numpy as np
import pytest

from lrtuner.document import load
from lrtuner.errors import HorizonMismatchError, UnsupportedError
from lrtuner.export import EXPORTERS
from lrtuner.schedules import FAMILIES
from tests.conformance.replays.torch import load_module
from tests.conformance.samples import SAMPLES, config, reactive

pytestmark = pytest.mark.frameworks

BATCHES, ACCUMULATED = 10, 2
PER_EPOCH = BATCHES // ACCUMULATED
CONTEXT = {"steps_per_epoch": PER_EPOCH, "batch_size": 1, "grad_accum": ACCUMULATED}

BY_STEP = load(
    {
        "total_steps": 23,
        "peak_lr": 0.1,
        "warmup": {"steps": 4, "start_factor": 0.0},
        "body": {"family": "cosine", "decay_steps": 19, "end_factor": 0.01},
        "context": CONTEXT,
    }
)
BY_EPOCH = load(
    {
        "unit": "epoch",
        "total_steps": 5,
        "peak_lr": 0.1,
        "warmup": {"steps": 1.5},
        "body": {"family": "multistep", "milestones": [1, 2], "factors": [0.5, 0.1]},
        "context": CONTEXT,
    }
)


def of_the_integration(optimizer, schedule):
    from lrtuner.integrations.transformers import (  # noqa: PLC0415 - imports torch
        scheduler,
        training_arguments,
    )

    return scheduler(optimizer, schedule), training_arguments(schedule)


def of_the_export(optimizer, schedule):
    exported = load_module(EXPORTERS["transformers"].render(schedule))
    return exported["make_scheduler"](optimizer), exported["TRAINING_ARGUMENTS"]


both = pytest.mark.parametrize("made", [of_the_integration, of_the_export])


def model_of(torch):
    """A model of two weights."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

        def forward(self, x, labels=None):
            logits = self.second(self.first(x))
            return {"loss": logits.square().mean(), "logits": logits}

    return Model()


def rates_of(transformers, ratio):
    """A callback with the rate of every update, as the optimizer has it and as Trainer logs it."""

    class Rates(transformers.TrainerCallback):
        def __init__(self):
            self.used, self.logged = [], []

        def on_pre_optimizer_step(self, args, state, control, optimizer, **others):
            first, second = (group["lr"] for group in optimizer.param_groups)
            assert second == pytest.approx(first * ratio, rel=1e-15)
            self.used.append(first)

        def on_log(self, args, state, control, logs, **others):
            if "learning_rate" in logs:
                self.logged.append(logs["learning_rate"])

    return Rates()


@pytest.fixture
def train(tmp_path):
    """Trains with what `made(optimizer, schedule)` gives, and tells the rates of all updates."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

    def run(made, schedule, *, values=(), resume_at=None, **changes):
        """`values` are what evaluation gives; without a scheduler, Trainer makes its own."""
        model, metric = model_of(torch), iter(values)
        groups = [
            {"params": list(model.first.parameters()), "lr": 0.7},
            {"params": list(model.second.parameters()), "lr": 0.35},
        ]
        optimizer = torch.optim.SGD(groups)
        scheduler, told = made(optimizer, schedule)
        arguments = {
            "output_dir": str(tmp_path),
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "logging_steps": 1,
            "save_strategy": "no",
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": ACCUMULATED,
        }
        rows = [{"x": torch.ones(1), "labels": torch.ones(1)} for _ in range(BATCHES)]
        rates = rates_of(transformers, ratio=0.5 if scheduler else 1.0)
        trainer = transformers.Trainer(
            model,
            transformers.TrainingArguments(**arguments | told | changes),
            train_dataset=rows,
            eval_dataset=rows,
            compute_metrics=lambda _: {"score": next(metric)},
            optimizers=(optimizer, scheduler) if scheduler else (None, None),
            callbacks=[rates],
        )
        saved = tmp_path / f"checkpoint-{resume_at}" if resume_at else None
        trainer.train(resume_from_checkpoint=saved and str(saved))
        assert rates.used == rates.logged
        return rates.used

    return run


@both
def test_every_update_has_the_rate_of_its_step(made, train):
    assert train(made, BY_STEP) == pytest.approx(BY_STEP.values(), abs=1e-13)


@both
@pytest.mark.parametrize("saved_at", [3, 5, 12])  # 5 is the end of an epoch
def test_a_resumed_run_goes_on_with_the_same_rates(made, saved_at, train):
    rates = train(made, BY_STEP, save_strategy="steps", save_steps=saved_at)
    assert train(made, BY_STEP, resume_at=saved_at) == rates[saved_at:]


@both
def test_a_schedule_in_epochs_is_counted_in_steps(made, train):
    rates = train(made, BY_EPOCH, save_strategy="steps", save_steps=8)
    expected = [rate for rate in BY_EPOCH.values().tolist() for _ in range(PER_EPOCH)]
    assert rates == pytest.approx(expected, abs=1e-13)
    assert len(set(expected)) == 5
    assert train(made, BY_EPOCH, resume_at=8) == rates[8:]


VALUES = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8]


def reacting(unit="epoch", monitor="val_score"):
    document = reactive(monitor=monitor, patience=1, factor=0.5, min_factor=0.4)
    return load({**document.document, "unit": unit})


@both
@pytest.mark.parametrize(("monitor", "unit"), [("val_score", "epoch"), ("eval_score", "step")])
def test_a_schedule_that_reacts_hears_of_the_metric_at_every_evaluation(made, monitor, unit, train):
    document = reacting(unit, monitor)
    updates = PER_EPOCH if unit == "epoch" else 1
    rates = train(made, document, values=VALUES, max_steps=len(VALUES) * updates)
    factors = [1.0, *document.body.factors(VALUES)[:-1]]
    assert rates == pytest.approx([0.1 * f for f in factors for _ in range(updates)])
    assert set(factors) == {1.0, 0.5, 0.4}


@both
def test_a_run_that_reacts_resumes(made, train):
    limits = {"save_strategy": "epoch", "max_steps": len(VALUES) * PER_EPOCH}
    rates = train(made, reacting(), values=VALUES, **limits)
    resumed = train(made, reacting(), values=VALUES[3:], resume_at=3 * PER_EPOCH, **limits)
    assert resumed == rates[3 * PER_EPOCH :]


def test_what_trainer_cannot_follow_is_refused():
    from lrtuner.integrations.transformers import scheduler, training_arguments  # noqa: PLC0415

    torch = pytest.importorskip("torch")

    def optimizer():
        return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)

    by_second = load({**BY_STEP.document, "unit": "second"})
    bare = BY_EPOCH.bare()
    for schedule, reason in ((by_second, "seconds"), (bare, "needs steps_per_epoch")):
        with pytest.raises(UnsupportedError, match=reason):
            scheduler(optimizer(), schedule)
        with pytest.raises(UnsupportedError, match=reason):
            training_arguments(schedule)
    assert EXPORTERS["transformers"].fidelity(by_second).fidelity == "unsupported"
    assert EXPORTERS["transformers"].fidelity(config(bare)).fidelity == "unsupported"
    with pytest.raises(UnsupportedError, match="no horizon"):
        scheduler(optimizer(), reacting(), total_steps=5)
    with pytest.raises(HorizonMismatchError, match="5 epochs, this training takes 6"):
        scheduler(optimizer(), BY_EPOCH, total_steps=6)
    stretched = scheduler(optimizer(), BY_EPOCH, total_steps=10, rescale=True)
    assert stretched.schedule == BY_EPOCH.rescaled(10)
    assert scheduler(optimizer(), bare, steps_per_epoch=7).steps_per_epoch == 7
    assert training_arguments(bare, steps_per_epoch=7)["max_steps"] == 35


# What transformers makes by itself

FROM_ZERO = {"steps": 9, "start_factor": 0.0}
STABLE = {"family": "constant"}


def natives(total=60):
    """Schedules that one type of transformers has, by that type."""
    rest = total - 9
    cosine, linear = {"family": "cosine"}, {"family": "polynomial"}
    restarts = {"family": "cosine_restarts"}
    return {
        "constant": [(None, STABLE, {}), (None, STABLE, {"min_factor": 0.3})],
        "constant_with_warmup": [(FROM_ZERO, STABLE, {})],
        "linear": [
            (FROM_ZERO, linear | {"decay_steps": rest}, {}),
            (None, linear | {"decay_steps": total}, {}),
        ],
        "polynomial": [
            (FROM_ZERO, linear | {"decay_steps": rest, "power": 2.5, "end_factor": 0.1}, {}),
            (None, linear | {"decay_steps": total, "power": 0.5}, {"min_factor": 0.0}),
            (None, linear | {"decay_steps": total, "end_factor": 0.1}, {"min_factor": 0.1}),
        ],
        "cosine": [
            (FROM_ZERO, cosine | {"decay_steps": rest}, {}),
            (None, cosine | {"decay_steps": total - 1}, {}),  # the end is reached at T - 1
            (None, cosine | {"decay_steps": 1.3 * total}, {}),  # the end is never reached
        ],
        "cosine_with_min_lr": [
            (FROM_ZERO, cosine | {"decay_steps": rest, "end_factor": 0.1}, {}),
            (None, cosine | {"decay_steps": total, "end_factor": 0.1}, {"min_factor": 0.05}),
        ],
        "cosine_warmup_with_min_lr": [
            ({"steps": 9}, cosine | {"decay_steps": rest}, {}),
            ({"steps": 9, "start_factor": 0.3}, cosine | {"decay_steps": rest - 1}, {}),
            ({"steps": 9}, cosine | {"decay_steps": rest, "end_factor": 0.01}, {}),
        ],
        "cosine_with_restarts": [
            (FROM_ZERO, restarts | {"first_steps": rest / 3}, {}),
            (None, restarts | {"first_steps": total / 4, "cycles": 4}, {}),
            (None, restarts | {"first_steps": 16}, {}),  # three cycles and three quarters
        ],
        "inverse_sqrt": [
            (FROM_ZERO, {"family": "inverse_power", "timescale": 9}, {}),
            (None, {"family": "inverse_power", "timescale": 12.5}, {"min_factor": 0.01}),
        ],
        "warmup_stable_decay": [
            (FROM_ZERO, STABLE, {"cooldown": {"start": 40, "steps": 20, "curve": curve}})
            for curve in ("linear", "cosine", "one_minus_sqrt")
        ]
        + [
            (None, STABLE, {"cooldown": {"start": 20, "steps": 30, "end_factor": 0.2}}),
            (None, STABLE, {"cooldown": {"start": 20, "steps": 60, "curve": "cosine"}}),
            (
                {"steps": 9, "start_factor": 0.2, "curve": "cosine"},
                STABLE,
                {"cooldown": {"start": 30, "steps": 30, "end_factor": 0.2}, "min_factor": 0.1},
            ),
            (None, cosine | {"decay_steps": 30}, {}),  # it holds its end, unlike `cosine`
            (FROM_ZERO, linear | {"decay_steps": 30}, {}),
        ],
    }


def document(warmup, body, rest, total=60):
    return load({"total_steps": total, "peak_lr": 0.03, "warmup": warmup, "body": body, **rest})


NATIVES = {
    f"{name}-{i}": (name, document(*parts))
    for name, several in natives().items()
    for i, parts in enumerate(several)
}


def native_arguments(schedule):
    text = EXPORTERS["transformers"].render(schedule)
    return load_module(text).get("NATIVE_TRAINING_ARGUMENTS"), text


def native_rates(arguments, steps):
    """What Trainer would make of the arguments, and the rates it gives."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=arguments["learning_rate"])
    scheduler = transformers.get_scheduler(
        arguments["lr_scheduler_type"],
        optimizer,
        num_warmup_steps=arguments["warmup_steps"],
        num_training_steps=arguments["max_steps"],
        scheduler_specific_kwargs=arguments.get("lr_scheduler_kwargs"),
    )
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(found)


def agrees(schedule, arguments, steps):
    difference = native_rates(arguments, steps) - schedule(np.arange(steps))
    return np.max(np.abs(difference)) <= 1e-12 * schedule.peak_lr


both_given = pytest.mark.filterwarnings("ignore:Both num_training_steps and num_stable_steps")


@both_given
@pytest.mark.parametrize(("name", "schedule"), NATIVES.values(), ids=NATIVES)
def test_the_native_arguments_give_the_same_rates_up_to_the_horizon(name, schedule):
    arguments, text = native_arguments(schedule)
    assert arguments["lr_scheduler_type"] == name
    assert agrees(schedule, arguments, schedule.total_steps)
    (afterwards,) = re.findall(r"^# 59; from step 60 on it (.*)\.$", text, re.MULTILINE)
    after = native_rates(arguments, 140)[60:]
    match afterwards:
        case "holds the rate":
            assert set(after) == {after[0]}
        case "is 0":
            assert set(after) == {0.0}
        case "goes on falling":
            assert after[0] > after[10]
        case "rises again":
            assert after[-1] > after.min()


@both_given
@pytest.mark.parametrize("total", [1, 2, 9, 10, 11, 97, 240])
@pytest.mark.parametrize("family", FAMILIES)
def test_where_rates_differ_nothing_native_is_offered(family, total):
    offered = 0
    for schedule in variations(family, total):
        arguments, _ = native_arguments(schedule)
        if arguments:
            offered += 1
            assert agrees(schedule, arguments, total), schedule.document
            native_rates(arguments, total + 1)  # Trainer steps it after the last update too
    if family in ("constant", "polynomial", "cosine") and total >= 97:
        assert offered > 5


def variations(family, total):
    """Simple schedules of the family, most of which have no equal in transformers."""
    bodies = [sample.body for name, sample in SAMPLES.items() if name.rsplit("-", 1)[0] == family]
    rise = min(9, total)
    simple = {
        "constant": [{}],
        "polynomial": [{"decay_steps": d, "end_factor": e} for d in ends(total) for e in (0, 0.1)],
        "cosine": [{"decay_steps": d, "end_factor": e} for d in ends(total) for e in (0, 0.1)],
        "cosine_restarts": [{"first_steps": total / n} for n in (1, 3, 7, 49)],
        "inverse_power": [{"timescale": 10}],
    }
    bodies = [{"family": family, **body} for body in simple.get(family, [])] + bodies
    warmups = [None, {"steps": rise, "start_factor": 0.0}, {"steps": rise}, {"steps": 0.5}]
    cooldowns = [None, {"start": total // 2, "steps": total - total // 2}]
    for body in bodies:
        for warmup in warmups:
            for cooldown in cooldowns:
                for floor in (0.0, 0.05):
                    yield document(warmup, body, {"cooldown": cooldown, "min_factor": floor}, total)


def ends(total):
    return [d for d in (total, total - 1, total - 9, total // 2) if d > 0]


def test_a_period_whose_restart_rounds_to_a_step_late_is_not_offered():
    schedule = document(None, {"family": "cosine_restarts", "first_steps": 1.0}, {}, total=49)
    assert native_arguments(schedule)[0] is None  # 49 (1 / 49) is less than 1


def by_itself(_, schedule):
    return None, native_arguments(schedule)[0]


def test_trainer_makes_the_native_scheduler_from_the_arguments(train):
    assert train(by_itself, BY_STEP) == pytest.approx(BY_STEP.values(), abs=1e-13)


def test_the_native_plateau_is_the_same_rule(train):
    rates = train(by_itself, reacting(), values=VALUES, max_steps=len(VALUES) * PER_EPOCH)
    factors = [1.0, *reacting().body.factors(VALUES)[:-1]]
    assert rates == pytest.approx([0.1 * f for f in factors for _ in range(PER_EPOCH)])
