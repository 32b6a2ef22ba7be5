"""Words that the command line, pictures and reports share."""

import pytest

from lrtuner.words import clean, number, plural, rule_rows
from tests.conformance.samples import reactive


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.131, "0.131"),
        (361.0, "361"),
        (123456.0, "123456"),
        (12345.678, "12345.7"),
        (2.4771e-06, "2.477e-06"),
        (0.0, "0"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_are_for_people(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("count", "text"), [(1, "1 step"), (0.5, "0.5 steps"), (2, "2 steps")])
def test_plural(count, text):
    assert plural(count, "step") == text


def test_words_of_strangers_are_kept_on_one_line():
    assert clean("a\nb\x1b[2J\u202e\x00 ü") == "a b [2J   ü"


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        ({"mode": "max"}, "watches", "val_loss, once per epoch; higher is better"),
        ({"mode": "max"}, "improves", "when it is more than 0.01 % above the best value so far"),
        ({"threshold": 0.0}, "improves", "when it is below the best value so far"),
        (
            {"threshold": 0.05, "threshold_mode": "abs"},
            "improves",
            "when it is more than 0.05 below the best value so far",
        ),
        ({"factor": 0.5}, "reduces", "the rate to 0.5 of what it was"),
        ({"min_factor": 0.2}, "reduces", "the rate to 0.1 of what it was, never below 0.02"),
        ({"patience": 0}, "when", "every epoch that does not improve"),
        ({"patience": 3}, "when", "4 epochs in a row did not improve"),
        ({}, "cooldown", "none"),
        ({"cooldown": 2}, "cooldown", "2 epochs after each reduction, not counted"),
    ],
)
def test_a_rule_in_words(rule, name, text):
    assert dict(rule_rows(reactive(**rule)))[name] == text
