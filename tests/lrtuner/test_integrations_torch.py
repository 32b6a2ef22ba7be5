"""The torch scheduler: exact rates, in any order of resuming, with several param groups."""

import copy

import pytest

from lrtuner.errors import HorizonMismatchError, InvalidScheduleError
from lrtuner.schedules.grammar import Schedule
from tests.conformance.samples import SAMPLES

torch = pytest.importorskip("torch")
integration = pytest.importorskip("lrtuner.integrations.torch")

SCHEDULE = Schedule.model_validate(
    {
        "total_steps": 40,
        "peak_lr": 0.3,
        "warmup": {"steps": 5},
        "body": {"family": "cosine", "decay_steps": 35},
    }
)


def optimizer(*rates):
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, momentum=0.9)


def follow(opt, sched, steps):
    rates = []
    for _ in range(steps):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        sched.step()
    return rates


@pytest.mark.parametrize("schedule", SAMPLES.values(), ids=SAMPLES)
def test_every_update_uses_exactly_the_rate_of_the_schedule(schedule):
    opt = optimizer(0.1)
    rates = follow(opt, integration.scheduler(opt, schedule), schedule.total_steps + 10)
    assert rates[: schedule.total_steps] == schedule.values().tolist()
    assert set(rates[schedule.total_steps :]) == {schedule(schedule.total_steps)}


def test_it_is_a_torch_scheduler():
    sched = integration.scheduler(optimizer(0.1), SCHEDULE)
    assert isinstance(sched, torch.optim.lr_scheduler.LRScheduler)
    assert sched.get_last_lr() == [SCHEDULE(0)]


def test_a_stale_initial_rate_does_not_leak_in():
    opt = optimizer(1e-7)
    opt.param_groups[0]["initial_lr"] = 123.0
    assert integration.scheduler(opt, SCHEDULE).base_lrs == [1e-7]
    opt.param_groups[0]["initial_lr"] = 123.0
    assert follow(opt, integration.scheduler(opt, SCHEDULE), 40) == SCHEDULE.values().tolist()


def test_groups_keep_their_ratios():
    opt = optimizer(0.2, 0.05)
    sched = integration.scheduler(opt, SCHEDULE)
    for step in range(40):
        assert opt.param_groups[0]["lr"] == SCHEDULE(step)
        assert opt.param_groups[1]["lr"] == pytest.approx(0.25 * SCHEDULE(step), rel=1e-15)
        opt.step()
        sched.step()


@pytest.mark.parametrize("at", [0, 1, 7, 39, 40])
@pytest.mark.parametrize("order", ["optimizer first", "scheduler first", "optimizer before making"])
def test_resuming_in_any_order_gives_the_same_rates(at, order):
    opt = optimizer(0.2, 0.05)
    sched = integration.scheduler(opt, SCHEDULE)
    follow(opt, sched, at)
    saved = copy.deepcopy((opt.state_dict(), sched.state_dict()))
    expected = follow(opt, sched, 50 - at)

    opt = optimizer(0.2, 0.05)
    if order == "optimizer before making":
        opt.load_state_dict(saved[0])
    sched = integration.scheduler(opt, SCHEDULE)
    if order == "optimizer first":
        opt.load_state_dict(saved[0])
    sched.load_state_dict(saved[1])
    if order == "scheduler first":
        opt.load_state_dict(saved[0])
    assert follow(opt, sched, 50 - at) == expected
    assert sched.ratios == [1.0, 0.25]


def test_another_horizon_is_refused_unless_rescaling_is_said():
    with pytest.raises(HorizonMismatchError, match=r"40 steps.*80"):
        integration.scheduler(optimizer(0.1), SCHEDULE, total_steps=80)
    opt = optimizer(0.1)
    sched = integration.scheduler(opt, SCHEDULE, total_steps=80, rescale=True)
    assert follow(opt, sched, 80) == SCHEDULE.rescaled(80).values().tolist()
    integration.scheduler(optimizer(0.1), SCHEDULE, total_steps=40)


def test_a_checkpoint_of_another_schedule_is_refused():
    saved = integration.scheduler(optimizer(0.1), SCHEDULE).state_dict()
    other = integration.scheduler(optimizer(0.1), SCHEDULE.rescaled(50))
    with pytest.raises(InvalidScheduleError, match="total_steps 40, not 50"):
        other.load_state_dict(saved)
