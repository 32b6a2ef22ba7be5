"""Training as it is done: accumulation, mixed precision, clipping, groups, freezing, averaging."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from lrtuner.errors import JobFailedError
from lrtuner.lifecycle import TrialState
from tests.worker.conftest import ListJournal, loss_of, pipeline_of, spec_of, subject, task_of
from tests.worker.test_training import spied
from tests.worker.test_trunks import CONVNET, assert_as_alone, trained, wsd
from worker import task as task_module
from worker.comparison import compare
from worker.ema import Ema
from worker.range_test import one_sweep, run_range_test
from worker.task import Task
from worker.training import full_cost, train

RATES = [0.05] * 30
STEPS = {"steps": 30}
TEXT = {
    "model": {"name": "gpt", "args": {"width": 16, "num_layers": 1, "num_heads": 2}},
    "dataset": {"name": "python_stdlib_text", "args": {"max_chars": 10_000, "context_length": 16}},
}


def of(training, **changes):
    return task_of(training={"batch_size": 16, **STEPS, **training}, **changes)


# accumulation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"optimizer": {"name": "adamw"}}, TEXT], ids=str)
def test_an_accumulated_run_is_that_of_the_whole_batch(changes):
    rates = [0.01] * 30
    whole = train(of({}, **changes), rates, 0, test=True, norms=True)
    parts = train(
        of({"batch_size": 4, "grad_accum": 4}, **changes), rates, 0, test=True, norms=True
    )
    assert parts.metrics == pytest.approx(whole.metrics, rel=1e-4)
    assert parts.curve.train_loss == pytest.approx(whole.curve.train_loss, rel=1e-4)
    assert parts.gradient_norms == pytest.approx(whole.gradient_norms, rel=1e-3)
    assert (parts.updates, parts.rates, parts.cost) == (whole.updates, whole.rates, whole.cost)


def test_so_is_its_sweep():
    whole, parts = (
        one_sweep(of(training), RATES, 1) for training in ({}, {"batch_size": 8, "grad_accum": 2})
    )
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)
    assert parts.updates == whole.updates == 30


def test_an_epoch_has_as_many_updates_as_whole_batches():
    whole, parts = of({}), of({"batch_size": 4, "grad_accum": 4})
    assert parts.steps_per_epoch == whole.steps_per_epoch == 7
    assert full_cost(parts, test=True) == full_cost(whole, test=True)
    for count, batch in enumerate(whole.batches(3, 20)):
        together = [torch.cat(side) for side in zip(*parts.batches(3, 4, 4 * count), strict=True)]
        assert all(map(torch.equal, together, batch))


def test_more_than_the_split_for_one_update_is_refused():
    with pytest.raises(ValidationError, match="64 x grad_accum 2 is larger") as caught:
        spec_of(training={"batch_size": 64, "grad_accum": 2, "epochs": 2})
    assert caught.value.errors()[0]["ctx"]["field"] == "training.batch_size"


# mixed precision ----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_lower_precision_is_used_for_training_and_for_evaluation(precision, monkeypatch):
    seen = set()
    plain, task = of({}), of({"precision": precision})
    make = Task.model

    def watched(self, seed):
        model = make(self, seed)
        model[1].register_forward_hook(lambda m, _, out: seen.add((m.training, str(out.dtype))))
        return model

    monkeypatch.setattr(Task, "model", watched)
    run = train(task, RATES, 0)
    dtype = {"bf16": "torch.bfloat16", "fp16": "torch.float16"}[precision]
    assert seen == {(True, dtype), (False, dtype)}
    exact = train(plain, RATES, 0)
    assert run.metrics["val_loss"] != exact.metrics["val_loss"]
    assert run.metrics["val_loss"] == pytest.approx(exact.metrics["val_loss"], rel=0.05)


def overflowing(monkeypatch, growth_interval=5, init_scale=2.0**22):
    """A scaler that begins too high, and tries to get there again every few updates."""
    monkeypatch.setattr(
        Task,
        "scaler",
        lambda self: torch.amp.GradScaler(
            "cpu", init_scale=init_scale, growth_interval=growth_interval, growth_factor=2.0**4
        ),
    )


def count_losses(monkeypatch):
    losses, loss = [], Task.loss
    monkeypatch.setattr(Task, "loss", lambda *args: losses.append(args[-1]) or loss(*args))
    return losses


def test_a_step_that_the_scaler_skips_is_no_update_and_is_charged(monkeypatch):
    overflowing(monkeypatch, growth_interval=2000)
    attempts, used = (
        count_losses(monkeypatch),
        spied(monkeypatch, lambda o: o.param_groups[0]["lr"]),
    )
    task, rates = of({"precision": "fp16"}), [0.05 - 0.001 * t for t in range(30)]
    run = train(task, rates, 0)
    skipped = len(attempts) - 30
    assert 0 < skipped <= 10
    assert (run.state, run.rates) == (TrialState.COMPLETE, rates)
    assert run.cost - full_cost(task, test=False) == pytest.approx(skipped / 30)
    assert used[-1] == rates[-1]
    batches = list(task.batches(0, len(attempts)))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(attempts, batches, strict=True))


def test_branches_go_on_where_the_trunk_was_though_steps_were_skipped(monkeypatch):
    overflowing(monkeypatch)
    attempts = count_losses(monkeypatch)
    task = task_of(**trained(precision="fp16", ema_decay=0.9))
    runs = assert_as_alone(task, [wsd(30), [0.02] * 60, wsd(12)])
    assert all(run.state is TrialState.COMPLETE for run in runs)
    assert len(attempts) > (30 + 30 + 18 + 12 + 12) + 3 * 60 + 20  # together, alone, skipped


def test_no_scale_that_works_ends_the_run_and_says_so(monkeypatch):
    overflowing(monkeypatch, init_scale=2.0**100)
    run = train(of({"precision": "fp16"}), RATES, 0)
    assert (run.state, run.updates) == (TrialState.DIVERGED, 0)
    assert run.reason == "gradients not finite 10 times in a row after update 0"
    assert run.cost == pytest.approx(10 / 30)


def test_a_sweep_scales_too(monkeypatch):
    overflowing(monkeypatch)
    attempts = count_losses(monkeypatch)
    swept = one_sweep(of({"precision": "fp16"}), RATES, 1)
    assert swept.updates == 30 < len(attempts)


def test_a_device_that_cannot_is_refused(monkeypatch):
    with pytest.raises(JobFailedError, match=r"training\.precision: fp16 is not possible on mps"):
        task_module.check_precision("fp16", torch.device("mps"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(JobFailedError, match="this GPU has no bf16"):
        task_module.check_precision("bf16", torch.device("cuda"))


# clipping -----------------------------------------------------------------------------------------


def largest(optimizer):
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
    return max(float(gradient.abs().max()) for gradient in gradients)


@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_values_are_clipped_as_they_are_without_the_scale(precision, monkeypatch):
    sizes = spied(monkeypatch, largest)
    train(of({"grad_clip_value": 1e-3, "precision": precision}), RATES, 0)
    assert len(sizes) == 30
    assert max(sizes) == pytest.approx(1e-3)


def test_a_norm_is_clipped_as_it_is_without_the_scale():
    runs = [
        train(of({"grad_clip_norm": 0.05, "precision": p}), RATES, 0, norms=True)
        for p in ("float32", "fp16")
    ]
    plain, scaled = runs
    assert scaled.metrics["val_loss"] == pytest.approx(plain.metrics["val_loss"], rel=0.02)
    assert scaled.gradient_norms[0] == pytest.approx(plain.gradient_norms[0], rel=0.02)


def test_one_way_to_clip_is_enough():
    with pytest.raises(ValidationError, match="not by both"):
        spec_of(training={"batch_size": 16, "steps": 9, "grad_clip_norm": 1, "grad_clip_value": 1})


# param groups -------------------------------------------------------------------------------------

GROUPS = {
    "param_groups": [
        {"match": "1.*", "lr_ratio": 0.1},
        {"match": "*.weight", "weight_decay": 0.5},
    ],
    "no_decay": "biases_and_norms",
}


def described(optimizer):
    return [
        ([tuple(p.shape) for p in group["params"]], group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
    ]


@pytest.mark.parametrize("lr", [0.3, 0.0])
def test_each_parameter_is_in_the_group_it_matches_first(lr):
    task = of(GROUPS, optimizer={"name": "adamw", "args": {"weight_decay": 0.2}})
    optimizer = task.optimizer(task.model(0), lr)
    assert described(optimizer) == [
        ([(16, 13)], lr * 0.1, 0.2),
        ([(16,)], lr * 0.1, 0.0),
        ([(3, 16)], lr, 0.5),
        ([(3,)], lr, 0.0),
    ]


@pytest.mark.parametrize(
    "trains", [lambda task: train(task, RATES, 0), run_range_test], ids=["run", "range test"]
)
def test_all_groups_follow_the_schedule_at_their_part_of_it(trains, monkeypatch):
    rates = spied(monkeypatch, lambda o: [group["lr"] for group in o.param_groups])
    trains(of(GROUPS, search={"mode": "range_test", "budget": {"full_runs": 3}}))
    assert len(rates) >= 30
    assert all(own == [0.1 * own[2], 0.1 * own[2], own[2], own[2]] for own in rates)
    assert len({own[2] for own in rates}) > 1 or rates[0][2] == 0.05


def test_the_recorded_rate_is_the_largest():
    run = train(of({"param_groups": [{"match": "1.*", "lr_ratio": 0.1}]}), RATES, 0)
    assert run.rates == RATES


def test_patterns_say_what_has_no_weight_decay():
    task = of({"no_decay": ["1.weight"]}, optimizer={"name": "sgd", "args": {"weight_decay": 0.1}})
    groups = described(task.optimizer(task.model(0), 0.1))
    assert [(shapes[0], decay) for shapes, _, decay in groups] == [((16, 13), 0.0), ((16,), 0.1)]


@pytest.mark.parametrize(
    ("training", "told"),
    [
        (
            {"param_groups": [{"match": "1.*"}, {"match": "head.*"}]},
            r"param_groups\.1\.match: 'head\.\*' matches no parameter.*1\.weight, 1\.bias",
        ),
        ({"freeze": ["9.*"]}, r"freeze\.0: '9\.\*' matches no"),
        ({"no_decay": ["3.*", "b"]}, r"no_decay\.1: 'b' matches no"),
        ({"freeze": ["*"]}, "freeze: no parameter is left to train"),
        ({"param_groups": [{"match": "*", "lr_ratio": 0.5}]}, r"below 1 \(the largest is 0\.5\)"),
    ],
)
def test_patterns_that_do_not_fit_the_model_are_refused_before_training(training, told):
    with pytest.raises(JobFailedError, match=told):
        of(training)


def test_what_prodigy_cannot_do_is_refused():
    groups = [{"match": "1.*", "lr_ratio": 0.1}]
    training = {"batch_size": 16, "steps": 30, "param_groups": groups}
    with pytest.raises(ValidationError, match="no lr_ratio") as caught:
        spec_of(training=training, search={"compare": ["prodigy"]})
    assert caught.value.errors()[0]["ctx"]["field"] == "search.compare"
    run = compare(task_of(training=training), "schedule_free", 0)
    assert run.state is TrialState.COMPLETE


# frozen layers ------------------------------------------------------------------------------------


def changed(task, rates):
    """Names in the state of the model that training and evaluating it changed."""
    model = task.model(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = task.optimizer(model, rates[0])
    for batch in task.batches(0, len(rates)):
        loss_of(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        task.evaluate(model, task.data.test)
        model.train()
    return {name for name, value in model.state_dict().items() if not value.equal(before[name])}


def test_what_is_frozen_stays_and_batch_norm_with_it():
    everything = changed(task_of(**CONVNET), [0.1] * 3)
    assert everything > {"1.weight", "1.running_mean", "7.weight"}
    task = task_of(**CONVNET | trained(freeze=["0.*", "1.*"]))
    assert changed(task, [0.1] * 3) == {"7.weight", "7.bias"}


def test_batch_norm_that_is_partly_frozen_trains():
    task = task_of(**CONVNET | trained(freeze=["1.bias"]))
    assert changed(task, [0.1] * 3) >= {"1.weight", "1.running_mean"}


def test_dropout_of_a_frozen_model_is_that_of_the_phase():
    model = task_of(**CONVNET | trained(freeze=["0.*", "1.*"])).model(0)
    dropout = next(module for module in model if isinstance(module, nn.Dropout))
    norm = next(module for module in model if isinstance(module, nn.BatchNorm2d))
    assert (dropout.training, norm.training) == (True, False)
    model.train()
    assert (dropout.training, norm.training) == (True, False)


# the average of the weights -----------------------------------------------------------------------


def test_the_average_is_what_its_formula_says():
    _, model, _ = subject()
    weight = next(model.parameters())
    ema, expected = Ema(model, 0.25), weight.detach().clone()
    for t in range(1, 6):
        with torch.no_grad():
            weight += t
        ema.update()
        decay = min(0.25, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * weight.detach()
    own = weight.detach().clone()
    with ema.evaluated():
        torch.testing.assert_close(weight.detach(), expected)
    assert weight.equal(own)


def test_the_average_is_evaluated_and_the_training_is_the_same(monkeypatch):
    plain, averaged = (
        task_of(**CONVNET | trained(batch_size=32, ema_decay=decay)) for decay in (None, 0.95)
    )
    rates = [0.2] * 60
    usual, run = train(plain, rates, 0), train(averaged, rates, 0)
    assert run.curve.train_loss == usual.curve.train_loss
    assert run.metrics != usual.metrics

    model, average = averaged.model(0), None
    optimizer = averaged.optimizer(model, 0.2)
    for t, batch in enumerate(averaged.batches(0, 60), start=1):
        state = {k: v.clone() for k, v in model.state_dict().items()}
        average = average or state
        loss_of(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        decay = min(0.95, (1 + t) / (10 + t))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * value
    model.load_state_dict(average)
    measured = averaged.evaluate(model, averaged.data.validation)
    assert run.metrics["val_loss"] == pytest.approx(measured["loss"], rel=1e-3)


def test_schedule_free_is_its_own_average():
    task = task_of(**CONVNET | trained(batch_size=32, steps=20, ema_decay=0.9))
    plain = task_of(**CONVNET | trained(batch_size=32, steps=20))
    assert compare(task, "schedule_free", 0).metrics == compare(plain, "schedule_free", 0).metrics
    assert compare(task, "prodigy", 0).metrics != compare(plain, "prodigy", 0).metrics


# the whole job ------------------------------------------------------------------------------------

EVERYTHING = {
    "batch_size": 8,
    "grad_accum": 2,
    "steps": 40,
    "precision": "fp16",
    "grad_clip_norm": 1.0,
    "param_groups": [{"match": "1.*", "lr_ratio": 0.5}],
    "no_decay": "biases_and_norms",
    "freeze": ["3.bias"],
    "ema_decay": 0.9,
}


def test_a_job_with_all_of_it_says_so_in_its_config():
    search = {"budget": {"full_runs": 4}, "confirm_pairs": 0, "compare": ["schedule_free"]}
    spec = spec_of(training=EVERYTHING, search=search)
    journal = ListJournal()
    document = pipeline_of(spec, journal).run()
    context, optimizer = document.context, document.optimizer
    assert (context.batch_size, context.grad_accum, context.steps_per_epoch) == (8, 2, 7)
    assert [(g.match, g.lr_ratio) for g in optimizer.param_groups] == [("1.*", 0.5)]
    assert {t.state for t in journal.trials} <= {TrialState.COMPLETE, TrialState.DIVERGED}
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


def test_a_config_without_groups_has_no_word_of_them():
    search = {"mode": "range_test", "budget": {"full_runs": 1}}
    document = pipeline_of(spec_of(search=search), ListJournal()).run()
    assert set(document.document["optimizer"]) == {"name", "args"}
