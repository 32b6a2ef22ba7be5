"""The summary of a run in Markdown."""

import re

import pytest

from lrtuner.document import load
from lrtuner.markdown import summary
from tests.lrtuner.test_gate import CLEAR, IN_USE, WORSE, recommended


def test_it_has_the_schedule_the_verdict_and_where_it_comes_from():
    text = summary(recommended(gaps=CLEAR), None, "")
    assert text.startswith("## warmup + polynomial, peak 0.3, 40 steps\n")
    for line in (
        "| verdict | confirmed |",
        "| peak | 0.3 |",
        "| cost | 20 of 30 full trainings |",
        "| job | job\\_1, seed 0 |",
    ):
        assert line in text
    assert "Against" not in text


@pytest.mark.parametrize(
    ("gaps", "outcome"), [(CLEAR, "better"), (WORSE, "worse"), ((), "unresolved")]
)
def test_beside_the_schedule_in_use_it_says_which_is_better(gaps, outcome):
    text = summary(recommended(gaps=gaps), load(IN_USE.document), "old_1.json")
    assert f"**{outcome}**: " in text
    assert "### Against old\\_1.json" in text
    changed = "| peak | 0.1 → 0.3 |" in text
    assert changed == (outcome != "worse")  # then the schedule in use is recommended itself


@pytest.mark.parametrize("update", [{"unit": "second"}, {"total_steps": 50}, {"peak_lr": 0.7}])
def test_a_schedule_that_the_job_did_not_compare_with_is_only_told_apart(update):
    text = summary(recommended(gaps=CLEAR), load({**IN_USE.document, **update}), "old.json")
    assert "### Against old.json" in text
    assert "**better**" not in text
    assert ("not compared with old.json" in text) == ("unit" not in update)


def test_nothing_that_a_config_says_becomes_markup():
    config = recommended(gaps=CLEAR)
    reason = "<img src=x>|`rm`\n# [a](http://b) *c*"
    verdict = config.verdict.model_copy(update={"reason": reason, "warnings": [reason]})
    text = summary(config.model_copy(update={"verdict": verdict}), None, "")
    assert not re.search(r"(?<!\\)[<`*\[]", text)
    [row] = [line for line in text.splitlines() if "reason" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert "\\<img src=x\\>\\|\\`rm\\` \\# \\[a\\](http://b) \\*c\\*" in row
