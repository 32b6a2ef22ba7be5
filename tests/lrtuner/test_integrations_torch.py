"""The torch scheduler: exact rates, in any order of resuming, with several param groups."""

import copy
import io

import pytest

from lrtuner.errors import HorizonMismatchError, InvalidScheduleError, UnsupportedError
from lrtuner.schedules.grammar import Schedule
from tests.conformance.samples import SAMPLES, reactive
from tests.conformance.test_exporters import PLATEAUS

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


class Clock:
    """Time that passes when told to."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def halving(**changes):
    """The rate is halved every ten minutes of an hour."""
    body = {"family": "step", "every": "10min", "rate": 0.5}
    data = {"unit": "second", "total_steps": 3600, "peak_lr": 0.8, "body": body}
    return Schedule.model_validate(data | changes)


def test_a_long_schedule_is_followed_beyond_what_is_computed_ahead():
    schedule = SCHEDULE.rescaled(5000)
    opt = optimizer(0.1)
    rates = follow(opt, integration.scheduler(opt, schedule), 5000)
    assert rates == schedule.values().tolist()


def test_a_run_may_go_back_to_an_earlier_checkpoint():
    schedule = SCHEDULE.rescaled(5000)
    opt = optimizer(0.1)
    sched = integration.scheduler(opt, schedule)
    follow(opt, sched, 7)
    saved = sched.state_dict()
    follow(opt, sched, 3000)
    sched.load_state_dict(saved)
    assert follow(opt, sched, 20) == schedule.values().tolist()[7:27]


def test_a_schedule_of_a_billion_steps_costs_no_memory():
    schedule = Schedule(total_steps=1_000_000_000, peak_lr=0.1, body={"family": "constant"})
    assert integration.scheduler(optimizer(0.1), schedule).get_last_lr() == [0.1]


def test_a_rate_kept_as_a_tensor_stays_that_tensor():
    opt = optimizer(0.1)
    rate = opt.param_groups[0]["lr"] = torch.tensor(0.1, dtype=torch.float64)
    sched = integration.scheduler(opt, SCHEDULE)
    follow(opt, sched, 7)
    saved = sched.state_dict()
    sched = integration.scheduler(opt, SCHEDULE)
    sched.load_state_dict(saved)
    assert opt.param_groups[0]["lr"] is rate
    assert rate.item() == SCHEDULE(7)


def test_a_schedule_in_epochs_is_stepped_once_per_epoch():
    body = {"family": "multistep", "milestones": [2, 5], "factors": [0.1, 0.01]}
    schedule = Schedule.model_validate(
        {"unit": "epoch", "total_steps": 8, "peak_lr": 0.3, "body": body}
    )
    opt = optimizer(0.1)
    sched = integration.scheduler(opt, schedule, total_steps=8)
    rates = []
    for _ in range(10):
        opt.step()
        opt.step()
        rates.append(opt.param_groups[0]["lr"])
        sched.step()
    assert rates == [schedule(epoch) for epoch in range(10)]
    assert rates[1:3] == [0.3, schedule(2)]
    with pytest.raises(HorizonMismatchError, match="8 epochs"):
        integration.scheduler(optimizer(0.1), schedule, total_steps=9)


def test_a_schedule_in_seconds_follows_the_clock_exactly():
    clock, opt = Clock(), optimizer(0.2, 0.05)
    sched = integration.scheduler(opt, halving(), clock=clock)
    seconds = [0.0, 0.1, 599.9, 600.0, 600.1, 1199.9, 1200.0, 3599.9, 3600.0, 9999.0]
    for second in seconds:
        clock.now = 1000.0 + second
        opt.step()
        sched.step()
        expected = 0.8 * 0.5 ** min(int(second // 600), 6)
        assert opt.param_groups[0]["lr"] == halving()(second) == expected, second
        assert opt.param_groups[1]["lr"] == 0.25 * expected
    assert isinstance(sched, torch.optim.lr_scheduler.LRScheduler)


def test_many_short_updates_add_up_to_the_time_they_took():
    clock, opt = Clock(), optimizer(0.1)
    sched = integration.scheduler(opt, halving(), clock=clock)
    for update in range(1, 12001):
        clock.now = 1000.0 + 0.1 * update
        opt.step()
        sched.step()
        assert opt.param_groups[0]["lr"] == 0.8 * 0.5 ** (update // 6000), update


def test_a_schedule_in_seconds_starts_at_its_first_rate_whatever_making_it_took():
    ticks = iter(range(1000))
    sched = integration.scheduler(
        optimizer(0.1), halving(warmup={"steps": 100, "start_factor": 0.25}), clock=ticks.__next__
    )
    assert sched.get_last_lr() == [0.2]


@pytest.mark.parametrize("order", ["optimizer first", "scheduler first", "optimizer before making"])
def test_the_time_between_saving_and_loading_does_not_count(order):
    schedule = halving(warmup={"steps": 2000})
    seconds = [0.5 * 1.1**i for i in range(95)]
    clock, opt = Clock(), optimizer(0.2, 0.05)
    sched = integration.scheduler(opt, schedule, clock=clock)

    def trained(opt, sched, seconds):
        rates = []
        for second in seconds:
            rates.append([group["lr"] for group in opt.param_groups])
            clock.now += second
            opt.step()
            sched.step()
        return rates

    trained(opt, sched, seconds[:40])
    clock.now += 3.0  # an evaluation, say: it counts, but the rate is the one in use
    saved = copy.deepcopy((opt.state_dict(), sched.state_dict()))
    expected = trained(opt, sched, seconds[40:])
    assert len({rate for rate, _ in expected}) > 10

    clock.now = 7.0  # another process
    opt = optimizer(0.2, 0.05)
    if order == "optimizer before making":
        opt.load_state_dict(saved[0])
    sched = integration.scheduler(opt, schedule, clock=clock)
    clock.now += 500.0  # reading the checkpoint
    if order == "optimizer first":
        opt.load_state_dict(saved[0])
    sched.load_state_dict(saved[1])
    if order == "scheduler first":
        opt.load_state_dict(saved[0])
    assert sched.elapsed == pytest.approx(sum(seconds[:40]) + 3.0)
    resumed = trained(opt, sched, seconds[40:])
    assert resumed == [pytest.approx(rates, rel=1e-12) for rates in expected]


def test_the_horizon_of_a_schedule_in_seconds_is_in_seconds():
    with pytest.raises(HorizonMismatchError, match=r"3600 seconds.*1800"):
        integration.scheduler(optimizer(0.1), halving(), total_steps=1800)
    clock, opt = Clock(), optimizer(0.1)
    sched = integration.scheduler(opt, halving(), total_steps=1800, rescale=True, clock=clock)
    clock.now += 300.0
    opt.step()
    sched.step()
    assert opt.param_groups[0]["lr"] == 0.4


@pytest.mark.parametrize("schedule", [SCHEDULE, halving()], ids=["step", "second"])
def test_a_checkpoint_holds_plain_data_only(schedule):
    sched = integration.scheduler(optimizer(0.1), schedule)
    file = io.BytesIO()
    torch.save(sched.state_dict(), file)
    file.seek(0)
    sched.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize("settings", PLATEAUS.values(), ids=PLATEAUS)
def test_a_schedule_that_reacts_is_torchs_own_scheduler(settings):
    document = reactive(**settings)
    opt = optimizer(0.2, 0.05)
    sched = integration.scheduler(opt, document)
    assert type(sched) is torch.optim.lr_scheduler.ReduceLROnPlateau
    values = [1.0, 0.9, *[0.8] * 30]
    for value, factor in zip(values, document.body.factors(values), strict=True):
        sched.step(value)
        assert opt.param_groups[0]["lr"] == pytest.approx(0.1 * factor, rel=1e-12)
        assert opt.param_groups[1]["lr"] == pytest.approx(0.025 * factor, rel=1e-12)
    assert factor < 1.0


def test_a_tiny_rate_is_reduced_as_well():
    document = reactive(patience=0).model_copy(update={"peak_lr": 1e-8})
    opt = optimizer(1.0)
    sched = integration.scheduler(opt, document)
    sched.step(1.0)
    sched.step(1.0)
    assert opt.param_groups[0]["lr"] == pytest.approx(1e-9)


@pytest.mark.parametrize("asked", [{"total_steps": 10}, {"rescale": True}], ids=str)
def test_a_schedule_that_reacts_has_no_horizon_to_fit(asked):
    with pytest.raises(UnsupportedError, match="no horizon"):
        integration.scheduler(optimizer(0.1), reactive(), **asked)


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


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup": None},
        {"body": {"family": "cosine", "decay_steps": 36}},
        {"min_factor": 0.1},
        {"unit": "epoch"},
        {"unit": "second"},
        {"peak_lr": 0.2},
    ],
    ids=str,
)
def test_a_checkpoint_of_a_schedule_that_differs_anywhere_is_refused(changes):
    sched = integration.scheduler(optimizer(0.1), SCHEDULE)
    other = integration.scheduler(
        optimizer(0.1), Schedule.model_validate(SCHEDULE.document | changes)
    )
    with pytest.raises(InvalidScheduleError, match="made under a schedule with"):
        other.load_state_dict(sched.state_dict())
    assert other.last_epoch == 0


def test_a_checkpoint_of_another_class_is_refused():
    theirs = torch.optim.lr_scheduler.LambdaLR(optimizer(0.1), lambda step: 1.0)
    with pytest.raises(InvalidScheduleError, match="made under"):
        integration.scheduler(optimizer(0.1), SCHEDULE).load_state_dict(theirs.state_dict())
