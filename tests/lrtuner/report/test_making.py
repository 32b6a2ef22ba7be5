"""The report's model: what of the evidence is in it, and what is said of the rest."""

import json

import pytest

from lrtuner.jsontext import dumps
from lrtuner.lifecycle import JobStatus
from lrtuner.report import Evidence, JobFacts, Report, make_report
from tests.searched import (
    CONFIRM,
    ENVIRONMENT,
    SEARCH,
    VERDICT,
    range_test,
    recommendation,
    spec,
    trial,
    trials,
)

DONE = JobFacts(id="job_1", status=JobStatus.SUCCEEDED, name="a job", metadata={"k": "v"})


def evidence(**changes):
    found = {
        "job": DONE,
        "spec": spec(search={"compare": ["schedule_free", "prodigy"]}),
        "range_test": range_test(),
        "trials": trials(),
        "search": SEARCH,
        "confirm": CONFIRM,
        "recommendation": recommendation(),
        "environment": ENVIRONMENT,
    }
    return Evidence(**found | changes)


def made(**changes):
    return make_report(evidence(**changes))


def test_it_is_plain_json_and_reads_back_the_same():
    report = made()
    text = dumps(report.model_dump(mode="json"))
    assert Report.model_validate(json.loads(text)) == report


def test_the_answer_is_the_recommendation_in_words():
    answer = made().answer
    assert answer.title == "cosine, peak 0.1, 80 steps"
    assert answer.document == recommendation().document
    assert answer.verdict == VERDICT
    assert (answer.status, answer.against) == ("confirmed", "polynomial, peak 0.1, 80 steps")
    assert ("peak", "0.1") in answer.words


def test_the_parts_are_those_of_their_modules():
    report = made()
    assert report.pairs.mean == pytest.approx(VERDICT.difference)
    assert [one.longer_steps for one in report.agreements] == [40, 80, 80]
    assert report.ledger.budget == 30.0
    assert report.drift.alpha == 0.17
    assert [(one.factor, one.change) for one in report.sensitivity] == [(0.5, 0.0412), (2.0, None)]
    assert report.range_test.peaks == range_test().suggestion.peaks
    assert (report.range_test.sweeps, report.range_test.probes) == (2, 3)


def test_the_drift_of_the_search_decides_which_peaks_correspond():
    runs = [trial(0, steps=20, peak=0.1), trial(1, peak=0.1 * 0.25**0.5)]
    assert made(trials=runs, search={"drift": {"alpha": 0.5}}).agreements
    assert not made(trials=runs, search={}).agreements


def test_every_run_is_listed_with_what_it_was():
    report = made()
    assert [run.number for run in report.runs] == list(range(len(trials())))
    final = report.runs[8]
    assert (final.purpose, final.origin, final.family) == ("final", "bound", "cosine")
    assert (final.peak_lr, final.horizon, final.seed) == (0.1, 80, 11)
    assert (final.value, final.test, final.cost) == (0.5, 0.6, 1.0)
    assert report.runs[4].state == "diverged"
    assert report.runs[4].error.code == "diverged"


def test_comparisons_stand_beside_the_recommendation_on_their_seed():
    first, second = made().comparisons
    assert (first.name, first.value, first.recommended) == ("schedule_free", 0.56, 0.5)
    assert first.difference == pytest.approx(-0.06)
    assert second.name == "prodigy"
    alone = made(trials=trials()[-1:]).comparisons[0]
    assert (alone.recommended, alone.difference) == (None, None)


def test_a_warning_is_told_once_wherever_it_comes_from():
    doubled = VERDICT.model_copy(update={"warnings": ["The best peak lies at the high end.", "b"]})
    report = made(recommendation=recommendation(doubled), confirm={"warnings": [{"message": "c"}]})
    told = [(warned.code, warned.message) for warned in report.warnings]
    assert told == [
        ("peak_at_edge", "The best peak lies at the high end."),
        (None, "c"),
        (None, "b"),
    ]


def test_the_sensitivity_may_come_with_the_verdict():
    told = {"lr_sensitivity": {"half_peak": 0.1, "double_peak": None}}
    verdict = type(VERDICT).model_validate(VERDICT.model_dump() | told)
    found = made(search={}, recommendation=recommendation(verdict)).sensitivity
    assert [(one.factor, one.change) for one in found] == [(0.5, 0.1), (2.0, None)]


def test_what_reproduces_it():
    found = made().reproduction
    assert found.commands == ["lrtuner submit job.json --wait --output schedule.json"]
    assert type(evidence().spec).model_validate_json(dumps(found.job)) == evidence().spec
    assert found.environment == ENVIRONMENT
    assert found.content_hash == recommendation().provenance.content_hash


def test_an_accuracy_is_better_when_larger():
    found = made(spec=spec(objective={"metric": "val_accuracy"}))
    assert (found.objective.metric, found.objective.direction) == ("val_accuracy", "maximize")


@pytest.mark.parametrize("stage", [{}, {"plan": {}, "ranking": [1], "drift": None}])
def test_stages_may_lack_anything(stage):
    found = made(search=stage, confirm=stage, recommendation=None)
    assert found.pairs is not None
    assert (found.pairs.ci95, found.drift) == (None, None)
    assert found.missing["sensitivity"]


def test_before_it_is_published_the_verdict_is_that_of_the_stage():
    found = made(recommendation=None).pairs
    assert found.ci95 == VERDICT.ci95


def missing(status, **changes):
    error = {"code": "nothing_trained", "message": "All diverged."} if status == "failed" else None
    job = JobFacts(id="job_1", status=status, error=error)
    nothing = {"range_test": None, "trials": [], "search": {}, "confirm": {}}
    return made(job=job, recommendation=None, environment=None, **nothing | changes)


PARTS = {"answer", "pairs", "range_test", "sensitivity", "runs", "agreements", "comparisons"}


@pytest.mark.parametrize(
    ("status", "state", "why"),
    [
        ("running", "The job is running. This is what there is so far.", "yet: the job is running"),
        ("cancelled", "The job was cancelled. This is", "the job ended before (cancelled)"),
        ("failed", "has failed: All diverged (nothing_trained). This", "ended before (failed)"),
        ("expired", "The job has expired: its deadline passed. This", "ended before (expired)"),
    ],
)
def test_a_job_without_a_result_says_what_is_missing_and_why(status, state, why):
    found = missing(status)
    assert state in found.state
    assert set(found.missing) == PARTS
    assert all(why in told for told in found.missing.values())
    assert found.ledger.entries == []


def test_nothing_is_missing_from_a_whole_job():
    assert made().missing == {}


def test_what_was_not_asked_for_is_not_missed():
    found = missing("succeeded", spec=spec(search={"confirm_pairs": 0}))
    assert found.missing["pairs"] == "None was asked for (search.confirm_pairs is 0)."
    assert found.missing["comparisons"] == "None was asked for (search.compare)."
    alone = missing("succeeded", spec=spec(search={"mode": "range_test"}))
    assert "Only the range test was asked for" in alone.missing["runs"]
    assert alone.missing["answer"] == "There is no recommendation."
