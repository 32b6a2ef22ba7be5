"""Lengths said relatively: exact, in every place where a length stands, gone once stored."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrtuner
from lrtuner.errors import InvalidScheduleError
from lrtuner.schedules.relative import Scale

CONTEXT = {"steps_per_epoch": 19, "batch_size": 64}
CONSTANT = {"family": "constant"}


def cosine(decay_steps, **document):
    """The length that is stored for `decay_steps`."""
    body = {"family": "cosine", "decay_steps": decay_steps}
    parts = {"total_steps": 380, "peak_lr": 0.1, "context": CONTEXT, **document}
    return lrtuner.load({**parts, "body": body}).body.decay_steps


@pytest.mark.parametrize(
    ("said", "steps"),
    [
        ("0.1dur", 38.0),
        ("1dur", 380.0),
        ("1.5dur", 570.0),
        (".5dur", 190.0),
        ("10%", 38.0),
        ("12.5 %", 47.5),
        ("5ep", 95.0),
        ("0.5ep", 9.5),
        ("500st", 500.0),
        (" 2.5st ", 2.5),
        (38, 38.0),
        (38.5, 38.5),
    ],
)
def test_in_steps(said, steps):
    assert cosine(said) == steps


@pytest.mark.parametrize(
    ("said", "epochs"), [("0.1dur", 2.0), ("25%", 5.0), ("3ep", 3.0), ("38st", 2.0), (1.5, 1.5)]
)
def test_in_epochs(said, epochs):
    assert cosine(said, unit="epoch", total_steps=20) == epochs


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("30s", 30.0), ("10min", 600.0), ("2h", 7200.0), ("0.5h", 1800.0), ("10%", 720.0)],
)
def test_in_seconds(said, seconds):
    assert cosine(said, unit="second", total_steps="2h") == seconds


@pytest.mark.parametrize(
    ("unit", "said", "total"),
    [("step", "20ep", 380), ("step", "100st", 100), ("step", "0.5ep", None), ("epoch", "20ep", 20),
     ("epoch", "38st", 2), ("second", "1.5min", 90), ("second", "2h", 7200)],
)  # fmt: skip
def test_the_horizon_may_be_relative_too_if_it_is_whole(unit, said, total):
    document = {"unit": unit, "peak_lr": 1, "total_steps": said, "context": CONTEXT}
    if total is not None:
        assert lrtuner.load({**document, "body": CONSTANT}).total_steps == total
        return
    with pytest.raises(InvalidScheduleError, match=r"total_steps: '0.5ep' is 9.5, not a whole"):
        lrtuner.load({**document, "body": CONSTANT})


def test_everywhere_where_a_length_stands():
    schedule = lrtuner.load(
        {
            "total_steps": "20ep",
            "peak_lr": 0.1,
            "context": CONTEXT,
            "warmup": {"steps": "1ep"},
            "body": {"family": "multistep", "milestones": ["50%", 300], "factors": [0.1, 0.01]},
            "cooldown": {"start": "0.75dur", "steps": "5ep"},
        }
    )
    assert schedule.warmup.steps == 19.0
    assert schedule.warmup.start_factor == 1 / 20
    assert schedule.body.milestones == (190.0, 300.0)
    assert (schedule.cooldown.start, schedule.cooldown.steps) == (285.0, 95.0)
    cyclic = {"family": "cyclic", "up": "10%", "base_factor": 0.1}
    cycle = lrtuner.load({"total_steps": 200, "peak_lr": 1, "body": cyclic}).body
    assert (cycle.up, cycle.down) == (20.0, 20.0)


# Of six usual shares, and every horizon up to 2000, `int(share * total)` is a step short 34 times.
SHARES = ["0.05", "0.1", "0.2", "0.3", "0.7", "0.9"]


def test_shares_are_exact():
    for total in range(1, 2001):
        scale = Scale("step", Fraction(total), None)
        for share in SHARES:
            exact = float(Fraction(share) * total)
            assert scale.absolute("x", f"{share}dur") == exact
            assert scale.absolute("x", f"{float(share) * 100:g}%") == exact
    assert cosine("0.7dur", total_steps=90) == 63.0 > int(0.7 * 90)


@pytest.mark.parametrize(
    ("said", "document", "told"),
    [
        ("5", {}, "'5' is no length; it must be a number, or a share of the run like '0.1dur'"),
        ("five", {}, "'five' is no length"),
        ("", {}, "'' is no length"),
        ("-5st", {}, "'-5st' is no length"),
        ("1e3st", {}, "'1e3st' is no length"),
        ("0.1 dur dur", {}, "'0.1 dur dur' is no length"),
        ("nan%", {}, "'nan%' is no length"),
        ("9" * 100 + "st", {}, "is no length"),
        ("٣st", {}, "is no length"),
        ("0st", {}, "greater than or equal to 0.000001 (got 0.0)"),
        ("5ep", {"context": None}, "'5ep' needs context.steps_per_epoch"),
        ("10min", {}, "'10min' cannot be said in the unit 'step'"),
        ("10min", {"unit": "epoch"}, "'10min' cannot be said in the unit 'epoch'"),
        ("5ep", {"unit": "second"}, "'5ep' cannot be said in the unit 'second'"),
        ("5st", {"unit": "second"}, "'5st' cannot be said in the unit 'second'"),
        ("5st", {"unit": "epoch", "context": None}, "'5st' needs context.steps_per_epoch"),
        ("5st", {"unit": "fortnight"}, "'5st' cannot be said in the unit 'fortnight'"),
    ],
)
def test_what_cannot_be_resolved_is_named(said, document, told):
    with pytest.raises(InvalidScheduleError) as caught:
        cosine(said, **document)
    assert "config: body.decay_steps: " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("total", [None, 0, -3, 1.5, True, 10**400, "0.5dur", "10xp"])
def test_a_share_needs_a_horizon(total):
    parts = {"peak_lr": 1, "body": {"family": "cosine", "decay_steps": "10%"}}
    with pytest.raises(InvalidScheduleError, match="config: total_steps: "):
        lrtuner.load(parts if total is None else {**parts, "total_steps": total})


@pytest.mark.parametrize(
    ("place", "document"),
    [
        ("warmup.steps", {"warmup": {"steps": "5xp"}}),
        ("cooldown.start", {"cooldown": {"start": "5xp", "steps": 5}}),
        ("cooldown.steps", {"cooldown": {"start": 5, "steps": "5xp"}}),
        ("body.milestones.1", {"body": {"family": "multistep", "milestones": [1, "5xp"]}}),
        ("preset.warmup_steps", {"body": None, "preset": {"name": "wsd", "warmup_steps": "5xp"}}),
    ],
)
def test_every_place_is_named(place, document):
    parts = {"total_steps": 100, "peak_lr": 1, "body": CONSTANT, **document}
    with pytest.raises(InvalidScheduleError, match=f"config: {place}: '5xp' is no length"):
        lrtuner.load({name: part for name, part in parts.items() if part is not None})


LENGTH = st.one_of(
    st.decimals("0.001", 2, places=4).map(lambda x: f"{x}dur"),
    st.decimals("0.1", 200, places=2).map(lambda x: f"{x}%"),
    st.decimals("0.1", 50, places=2).map(lambda x: f"{x}ep"),
)


@settings(max_examples=100, deadline=None)
@given(
    total=st.integers(1, 10**6),
    lengths=st.lists(LENGTH, min_size=2, max_size=2),
    first=st.decimals("0.001", "0.499", places=3),
)
def test_what_is_stored_is_absolute_and_loads_as_it_is(total, lengths, first):
    document = {
        "total_steps": total,
        "peak_lr": 0.1,
        "context": CONTEXT,
        "warmup": {"steps": f"{first}dur"},
        "body": {"family": "multistep", "milestones": [f"{first}dur", f"{first + 1}dur"],
                 "factors": [0.5, 0.25]},
        "cooldown": {"start": lengths[0], "steps": lengths[1]},
    }  # fmt: skip
    schedule = lrtuner.load(document)
    assert schedule.warmup.steps == float(Fraction(first) * total)
    stored = schedule.document
    numbers = [stored["warmup"]["steps"], *stored["body"]["milestones"]]
    assert all(type(number) is float for number in [*numbers, stored["cooldown"]["start"]])
    again = lrtuner.load(stored)
    assert again == schedule
    assert again.document == stored
