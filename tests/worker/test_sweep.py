"""The sweep: exact rates, exact number of updates, and nothing left behind on any way out."""

import numpy as np
import pytest
import torch
from torch import nn

from lrtuner.budget import SWEEP_SHARE, run_cost
from lrtuner.range_test import analyse, sweep_rates
from tests.worker.conftest import fingerprint, loss_of, subject, task_of
from worker.range_test import CHECK_UPDATES, run_range_test
from worker.sweep import sweep
from worker.task import Task

RATES = sweep_rates(1e-6, 10.0, 60)
CONVNET = {
    "model": {"name": "convnet", "args": {"channels": [4], "dropout": 0.2}},
    "dataset": {"name": "digits"},
}


def test_a_divergence_ends_the_sweep():
    task, model, optimizer = subject()
    told = sweep(model, optimizer, task.batches(1, 60), loss_of, sweep_rates(1e-6, 1e6, 60), seed=1)
    assert told.updates < 60
    assert len(told.losses) == 60


def test_the_same_seed_gives_the_same_sweep():
    first, again = run_range_test(task_of()), run_range_test(task_of())
    assert first == again
    assert first.repeatable
    assert len(first.sweeps) == 2  # as many as a twentieth of the budget allows
    assert len({s.seed for s in first.sweeps}) == 2


def test_the_range_test_of_a_real_task_finds_where_it_diverges():
    task = task_of(
        model={"name": "mlp", "args": {"hidden": [64]}},
        dataset={"name": "digits"},
        training={"batch_size": 64, "epochs": 10},
        search={"budget": {"full_runs": 30}},
    )
    found = run_range_test(task)
    assert found.status == "ok"
    assert 0.05 < found.suggestion.peaks["decaying"].lr < 1.0
    assert found.cost <= 3.1


def test_a_model_that_raises_ends_the_sweeps_and_not_the_job():
    task = task_of()
    broken = type(task)(
        spec=task.spec,
        data=task.data,
        build_model=lambda: nn.Linear(1, 1),
        device=task.device,
        total_steps=40,
    )
    found = run_range_test(broken)
    assert found.status == "failed"
    assert "RuntimeError" in found.message
    assert found.suggestion.source == "optimizer_default"


def test_a_budget_too_small_for_a_sweep_is_said():
    found = run_range_test(task_of(search={"budget": {"full_runs": 3}}, range_test={"probes": []}))
    assert found.status == "too_few_points"
    assert found.cost == 2 * CHECK_UPDATES / 40


@pytest.mark.parametrize("full_runs", [0.6, 1.1, 2.0])
def test_a_range_test_alone_keeps_its_budget(full_runs):
    search = {"mode": "range_test", "budget": {"full_runs": full_runs}}
    assert run_range_test(task_of(search=search)).cost <= full_runs


def test_training_that_cannot_be_repeated_is_noticed(monkeypatch):
    task = task_of()
    noise = iter(range(1000))
    loss = Task.loss
    monkeypatch.setattr(Task, "loss", lambda *args: loss(*args) * (1 + 1e-6 * next(noise)))
    assert run_range_test(task).repeatable is False


def two_groups():
    """A model whose second layer has a tenth of the rate."""
    task, model, _ = subject()
    first, *rest = list(model.parameters())
    groups = [{"params": [first], "lr": 0.02}, {"params": rest, "lr": 0.002}]
    return task, model, torch.optim.SGD(groups, momentum=0.9)


def test_param_groups_are_swept_by_a_common_factor():
    task, model, optimizer = two_groups()
    used = []
    optimizer.register_step_pre_hook(
        lambda opt, *_: used.append([group["lr"] for group in opt.param_groups])
    )
    told = sweep(model, optimizer, task.batches(1, 60), loss_of, RATES, seed=1)
    assert [rates[0] for rates in used] == RATES[: told.updates]
    assert all(small == pytest.approx(0.1 * large, rel=1e-15) for large, small in used)
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.002]


def test_accumulation_counts_real_steps_and_is_the_mean_over_micro_batches():
    task, model, optimizer = subject()
    batches = list(task.batches(1, 60))
    halves = [(x[i::2], y[i::2]) for x, y in batches for i in (0, 1)]
    rates = RATES[:30]
    whole = sweep(model, optimizer, batches, loss_of, rates, seed=1)
    parts = sweep(model, optimizer, halves, loss_of, rates, seed=1, accumulate=2)
    assert parts.updates == whole.updates == 30
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-5)


def test_the_sweep_ends_with_the_data():
    task, model, optimizer = subject()
    told = sweep(model, optimizer, task.batches(1, 7), loss_of, RATES, seed=1, accumulate=2)
    assert told.updates == 3
    assert told.losses[3:] == [None] * 57


def test_a_step_skipped_by_the_scaler_is_made_again_at_the_same_rate():
    task, model, optimizer = subject()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    used, calls = [], 0
    optimizer.register_step_post_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))

    def loss(net, batch):
        nonlocal calls
        calls += 1
        value = loss_of(net, batch)
        return value * float("inf") if calls in (4, 5, 9) else value

    before = scaler.state_dict()
    told = sweep(model, optimizer, task.batches(1, 40), loss, RATES[:20], seed=1, scaler=scaler)
    assert told.updates == 20
    assert calls == 23
    assert all(x is not None for x in told.losses)
    assert sorted(set(used)) == RATES[:20]
    assert scaler.state_dict() == before


def test_a_scaler_that_never_finds_a_scale_ends_the_sweep():
    task, model, optimizer = subject()
    scaler = torch.amp.GradScaler("cpu")

    def loss(net, batch):
        return loss_of(net, batch) * float("inf")

    told = sweep(model, optimizer, task.batches(1, 60), loss, RATES, seed=1, scaler=scaler)
    assert told.updates == 0


class Loader:
    """Batches from a position that it can save."""

    def __init__(self, batches):
        self.batches, self.position = batches, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.position += 1
        return self.batches[self.position - 1]

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state_dict):
        self.position = state_dict["position"]


def test_a_loader_is_put_back_to_its_position():
    task, model, optimizer = subject()
    loader = Loader(list(task.batches(1, 60)))
    next(loader), next(loader)
    told = sweep(model, optimizer, loader, loss_of, RATES[:20], seed=1, loader=loader)
    assert told.updates == 20
    assert loader.position == 2


def test_a_buffer_that_is_not_saved_is_restored_too():
    task, model, optimizer = subject()
    model.register_buffer("seen", torch.zeros(1), persistent=False)

    def loss(net, batch):
        net.seen += 1
        return loss_of(net, batch)

    sweep(model, optimizer, task.batches(1, 60), loss, RATES[:10], seed=1)
    assert model.seen.item() == 0


def test_a_state_that_cannot_be_restored_is_an_error():
    task, model, optimizer = subject()
    loader = Loader(list(task.batches(1, 60)))
    loader.load_state_dict = lambda state_dict: None
    with pytest.raises(RuntimeError, match="could not be restored"):
        sweep(model, optimizer, loader, loss_of, RATES[:10], seed=1, loader=loader)


def held_out_of(task, count=64):
    validation = task.data.validation
    return validation.inputs[:count], validation.targets[:count]


def spied(model):
    """The modes in which the model is called, and its running statistics around each evaluation."""
    seen, norm = [], next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))

    def note(module, _inputs, _output=None):
        seen.append((module.training, torch.is_grad_enabled(), norm.running_mean.clone()))

    model.register_forward_pre_hook(note)
    model.register_forward_hook(note)
    return seen


def test_held_out_losses_change_nothing_else():
    told, after = [], []
    for with_them in (False, True):
        task, model, optimizer = subject(**CONVNET)  # with dropout and BatchNorm
        before = fingerprint(model, optimizer)
        held_out = held_out_of(task) if with_them else None
        batches = task.batches(1, 60)
        told.append(sweep(model, optimizer, batches, loss_of, RATES, seed=1, held_out=held_out))
        after.append(fingerprint(model, optimizer) == before)
    without, with_them = told
    assert without.held_out is None
    assert with_them.losses == without.losses
    assert with_them == without.model_copy(update={"held_out": with_them.held_out})
    assert after == [True, True]


def test_a_held_out_loss_is_what_the_update_led_to():
    task, model, optimizer = subject()
    batches, held_out = list(task.batches(1, 20)), held_out_of(task, 10)
    rates = sweep_rates(1e-4, 0.1, 20)
    told = sweep(model, optimizer, batches, loss_of, rates, seed=1, held_out=held_out)
    assert (told.updates, len(told.held_out)) == (20, 20)
    expected = []
    for rate, batch in zip(rates, batches, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        expected.append(loss_of(model, held_out).item())
    assert told.held_out == expected


def test_held_out_losses_are_measured_in_evaluation_mode_without_a_gradient():
    task, model, optimizer = subject(**CONVNET)
    seen = spied(model)
    batches = task.batches(1, 60)
    sweep(model, optimizer, batches, loss_of, RATES[:10], seed=1, held_out=held_out_of(task))
    assert [mode for mode, _, _ in seen] == [True, True, False, False] * 10
    assert [graph for _, graph, _ in seen] == [True, True, False, False] * 10
    for i in range(0, 40, 4):
        trained, before, after = (mean for _, _, mean in seen[i + 1 : i + 4])
        assert torch.equal(trained, before)
        assert torch.equal(before, after)


def test_held_out_losses_wait_on_the_device_until_several_are_looked_at(monkeypatch):
    task, model, optimizer = subject()
    looks, to_list = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda x: looks.append(len(x)) or to_list(x))
    monkeypatch.setattr(torch.Tensor, "item", lambda x: pytest.fail("a look at one loss"))
    batches = task.batches(1, 25)
    told = sweep(model, optimizer, batches, loss_of, RATES[:25], seed=1, held_out=held_out_of(task))
    assert told.updates == 25
    assert looks == [10, 10, 10, 10, 5, 5]


def test_a_held_out_loss_that_is_not_finite_ends_the_sweep():
    task, model, optimizer = subject()

    def loss(net, batch):
        value = loss_of(net, batch)
        broken = not net.training and optimizer.param_groups[0]["lr"] > RATES[22]
        return value * float("nan") if broken else value

    batches = task.batches(1, 60)
    told = sweep(model, optimizer, batches, loss, RATES, seed=1, held_out=held_out_of(task))
    assert told.updates == 30
    assert [x is None for x in told.held_out] == [False] * 23 + [True] * 37
    assert None not in told.losses[:30]
    assert (analyse(told).status, analyse(told).stopped_at) == ("nan_at_step", 23)


def test_an_error_in_the_evaluation_leaves_nothing_behind():
    task, model, optimizer = subject(**CONVNET)
    before = fingerprint(model, optimizer)

    def loss(net, batch):
        if not net.training and optimizer.param_groups[0]["lr"] > RATES[12]:
            raise ValueError("broken example")
        return loss_of(net, batch)

    with pytest.raises(ValueError, match="broken example"):
        sweep(
            model,
            optimizer,
            task.batches(1, 60),
            loss,
            RATES,
            seed=1,
            held_out=held_out_of(task),
        )
    assert fingerprint(model, optimizer) == before


def swept(**range_test):
    """The sweeps of a job, and what they cost, the probes not counted."""
    task = task_of(training={"batch_size": 16, "steps": 200}, range_test=range_test)
    found = run_range_test(task)
    return task, found.sweeps, found.cost - sum(probe.cost for probe in found.probes)


@pytest.mark.parametrize("asked", [0, 5, 20, 1024])
def test_held_out_losses_are_charged_and_stay_within_the_share(asked):
    task, sweeps, cost = swept(held_out=asked, num_steps=400)
    examples = min(asked, len(task.data.validation))
    assert len(sweeps) == 3
    assert all((one.held_out is not None) == (asked > 0) for one in sweeps)
    updates = sum(one.updates for one in sweeps) + 2 * CHECK_UPDATES
    assert cost == pytest.approx(run_cost(updates, updates * examples, 16, 200))
    planned = sum(len(one.lrs) for one in sweeps) + 2 * CHECK_UPDATES
    allowed = task.spec.search.range_test_runs(SWEEP_SHARE)
    one_more = planned + len(sweeps)
    assert run_cost(planned, planned * examples, 16, 200) <= allowed
    assert run_cost(one_more, one_more * examples, 16, 200) > allowed


def test_held_out_examples_differ_between_seeds_and_not_between_runs(monkeypatch):
    seen = []

    def spy(*args, held_out, **options):
        seen.append(held_out[0])
        return sweep(*args, held_out=held_out, **options)

    monkeypatch.setattr("worker.range_test.sweep", spy)
    task, first, _ = swept(held_out=8)
    _, again, _ = swept(held_out=8)
    assert first == again
    assert [len(inputs) for inputs in seen] == [8] * 2 * (2 + 3)  # a check, and three sweeps
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[7])
    assert not torch.equal(seen[2], seen[3])
    known = {tuple(row) for row in task.data.validation.inputs.numpy().tolist()}
    assert {tuple(row) for row in torch.cat(seen).numpy().tolist()} <= known


def test_more_held_out_examples_than_there_are_is_all_of_them():
    task, sweeps, _ = swept(held_out=1024)
    count = len(task.data.validation)
    assert sweeps == swept(held_out=count)[1]


def test_the_spacing_is_the_one_that_the_job_asks_for():
    _, sweeps, _ = swept(spacing="linear", min_lr=0.1, max_lr=2.0)
    assert all(np.ptp(np.diff(one.lrs)) < 1e-12 for one in sweeps)
    assert (sweeps[0].lrs[0], sweeps[0].lrs[-1]) == (0.1, 2.0)
    _, sweeps, _ = swept()
    assert np.ptp(np.diff(np.log(sweeps[0].lrs))) < 1e-12
