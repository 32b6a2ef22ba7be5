"""What a search found, in words: what to beware of, and how sure the verdict may be of it."""

import math

import pytest

from lrtuner.document import Verdict
from lrtuner.range_test import Peak, Suggestion
from lrtuner.schedules.grammar import Schedule
from lrtuner.search_result import (
    NEAR_EDGE,
    SHORT_HORIZON,
    Caution,
    Contender,
    DriftFound,
    SearchResult,
    cautions,
)
from lrtuner.selection import Decision
from lrtuner.sensitivity import Sensitivity
from lrtuner.strategy.peaks import DRIFT_SPREAD

SUGGESTION = Suggestion(low=0.01, high=1.0, peaks={"decaying": Peak(lr=0.1)}, source="probes")
TRIED = [0.03, 0.1, 0.3]


def schedule(lr=0.1, steps=100):
    return Schedule.model_validate(
        {"total_steps": steps, "peak_lr": lr, "body": {"family": "constant"}}
    )


def contender(lr=0.1, behind=-0.1, trained=True, searched=100, steps=100):
    return Contender(
        shape="constant-1",
        origin="bound",
        searched=schedule(lr, searched),
        schedule=schedule(lr, steps),
        behind=behind,
        trained=trained,
    )


def result(share=1.0, sensitivity=(), warnings=(), alpha=0.25):
    own = contender(searched=round(share * 400), steps=400)
    return SearchResult(
        challenger=own,
        baseline=own,
        ranking=[own],
        drift=DriftFound(alpha=alpha, measured=None, source="usual"),
        sensitivity=list(sensitivity),
        warnings=list(warnings),
        pairs=5,
        runs=20,
    )


def verdict(status="confirmed", difference=-0.5, half=0.1, pairs=5):
    return Verdict(
        status=status,
        metric="val_loss",
        difference=difference,
        ci95=None if difference is None else [difference - half, difference + half],
        pairs=pairs,
        reason="Better than the baseline on 5 pairs.",
    )


def completed(found, told):
    return found.completed(Decision(schedule(), told))


def codes(found):
    return [caution.code for caution in found]


def told_of(lr=0.1, trained=True, tried=TRIED, share=1.0):
    return cautions([contender(lr, trained=trained)], SUGGESTION, tried, share=share)


# what to beware of -------------------------------------------------------------------------------


def test_where_all_is_well_there_is_nothing_to_beware_of():
    assert told_of() == []


@pytest.mark.parametrize(
    ("lr", "side"),
    [(0.01, "low"), (0.01 * 0.99 * NEAR_EDGE, "low"), (0.99 / NEAR_EDGE + 0.02, "high")],
)
def test_a_best_peak_near_an_end_of_what_was_searched(lr, side):
    [found] = told_of(lr)
    assert found.code == "peak_at_edge"
    assert f"lies at the {side} end" in found.message
    assert "0.01 to 1" in found.message
    assert "widen search.lr_range" in found.message


@pytest.mark.parametrize("lr", [0.01 * 1.01 * NEAR_EDGE, 0.99 / NEAR_EDGE])
def test_a_best_peak_a_little_away_from_it_is_none(lr):
    assert told_of(lr) == []


def test_it_is_the_peak_of_the_best_as_it_was_searched():
    ranking = [contender(0.1), contender(0.01, behind=0.2)]
    assert cautions(ranking, SUGGESTION, TRIED, share=1.0) == []
    longer = contender(0.1, steps=1600).model_copy(update={"schedule": schedule(0.011, 1600)})
    assert cautions([longer], SUGGESTION, TRIED, share=1.0) == []


@pytest.mark.parametrize("tried", [[], [0.1], [0.1, 0.3]])
def test_a_baseline_that_was_hardly_tuned(tried):
    [found] = told_of(tried=tried)
    assert found.code == "peak_not_bracketed"
    assert f"with {len(tried)} runs only" in found.message


def test_only_short_runs():
    assert codes(told_of(trained=False)) == ["only_short_runs"]


def test_a_small_part_of_the_steps():
    assert codes(told_of(share=0.99 * SHORT_HORIZON)) == ["short_horizon"]
    assert told_of(share=SHORT_HORIZON) == []
    assert "24% of the steps" in told_of(share=0.24)[0].message


def test_all_at_once_in_a_steady_order():
    found = told_of(0.01, trained=False, tried=[], share=0.1)
    assert codes(found) == [
        "peak_at_edge",
        "peak_not_bracketed",
        "only_short_runs",
        "short_horizon",
    ]


# what the verdict is told ------------------------------------------------------------------------


def test_a_clear_verdict_stays_as_it_is():
    told = verdict()
    decision = completed(result(), told)
    assert decision == Decision(schedule(), told)
    assert "warnings" not in decision.verdict.model_dump()
    assert "lr_sensitivity" not in decision.verdict.model_dump()


def test_warnings_of_the_search_are_handed_on():
    warnings = [Caution(code="a", message="Beware."), Caution(code="b", message="Take care.")]
    assert completed(result(warnings=warnings), verdict()).verdict.warnings == [
        "Beware.",
        "Take care.",
    ]


@pytest.mark.parametrize("difference", [-0.05, 0.05, 0.0])
def test_noise_that_is_larger_than_the_effect(difference):
    [told] = completed(result(), verdict(difference=difference, half=0.06)).verdict.warnings
    assert "noise of val_loss" in told
    assert "+- 0.06 on the mean of 5 pairs" in told


@pytest.mark.parametrize(
    "told", [verdict(difference=-0.06, half=0.06), verdict(difference=None, pairs=0)]
)
def test_where_the_effect_is_no_smaller_or_not_known_there_is_no_word_of_it(told):
    assert completed(result(), told).verdict.warnings == []


def test_without_an_interval_there_is_no_word_of_it():
    told = verdict().model_copy(update={"ci95": None})
    assert completed(result(), told).verdict.warnings == []


@pytest.mark.parametrize(("half", "double"), [(0.05, 0.2), (None, 0.2), (None, None)])
def test_what_a_wrong_peak_costs(half, double):
    found = [Sensitivity(factor=0.5, change=half), Sensitivity(factor=2.0, change=double)]
    told = completed(result(sensitivity=found), verdict()).verdict.lr_sensitivity
    assert (told.half_peak, told.double_peak) == (half, double)


# a part of the steps -----------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_part_of_the_steps_estimates_at_most_and_says_what_was_taken_for_granted(share):
    assert result(share).share == share
    told = completed(result(share), verdict()).verdict
    assert told.status == "estimated"
    assert told.reason.startswith("Better than the baseline on 5 pairs. ")
    assert f"over {share:.0%} of the steps" in told.reason
    assert f"{share**0.25:.2f} times as high (exponent 0.25)" in told.reason
    assert f"{share**-DRIFT_SPREAD:.2f} times higher or lower" in told.reason
    assert (told.difference, told.ci95, told.pairs) == (-0.5, [-0.6, -0.4], 5)


@pytest.mark.parametrize("status", ["estimated", "no_difference_resolved"])
def test_what_is_no_more_than_that_stays_so(status):
    assert completed(result(0.5), verdict(status)).verdict.status == status
    assert completed(result(1.0), verdict(status)).verdict.status == status


def test_it_survives_being_stored():
    found = result(0.5, [Sensitivity(factor=0.5, change=None)], [Caution(code="a", message="b")])
    assert SearchResult.model_validate_json(found.model_dump_json()) == found
    assert not math.isinf(found.challenger.behind)
