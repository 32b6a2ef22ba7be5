"""How a new schedule stands to the one in use: from what jobs decide to what pipelines are told."""

import pytest

from lrtuner.candidates import linear_to_zero, to_schedule
from lrtuner.document import Context, OptimizerRef, Provenance, SpentBudget, load
from lrtuner.errors import InvalidInputError
from lrtuner.gate import standing
from lrtuner.recommendation import recommend
from lrtuner.selection import Contest, decide

STEPS, PER_EPOCH = 40, 10
IN_USE = to_schedule(linear_to_zero(0.1), STEPS)
NEW = to_schedule(linear_to_zero(0.3), STEPS)
TUNED = to_schedule(linear_to_zero(0.2), STEPS)


def recommended(challenger=NEW, baseline=IN_USE, *, gaps=(), lost=0, sign=1.0, asked=5):
    """What a job recommends whose pairs have these differences, challenger minus baseline."""
    contest = Contest(
        challenger=challenger,
        baseline=baseline,
        challenger_values=tuple(0.5 + gap for gap in gaps),
        baseline_values=tuple(0.5 for _ in gaps),
        challenger_lost=lost,
    )
    decision = decide(contest, metric="val_loss", sign=sign, asked_pairs=asked)
    return recommend(
        decision.schedule,
        optimizer=OptimizerRef(name="sgd", args={}),
        context=Context(steps_per_epoch=PER_EPOCH, batch_size=8),
        verdict=decision.verdict,
        provenance=Provenance(
            job_id="job_1",
            tool_version="0.1.0",
            created_at="2031-07-09T12:34:56Z",
            content_hash="",
            seed=0,
            budget=SpentBudget(full_runs=30.0, spent=20.0),
        ),
        public_url="http://127.0.0.1:8470",
    )


def judged(in_use=IN_USE, **job):
    return standing(recommended(**job), load(in_use.document), "old.json")


CLEAR = (-0.10, -0.11, -0.12, -0.10, -0.11)
WORSE = tuple(-gap for gap in CLEAR)
NOISE = (-0.2, 0.1, -0.1, 0.15, -0.05)


@pytest.mark.parametrize(
    ("job", "outcome", "words"),
    [
        ({"gaps": CLEAR}, "better", "better than old.json: val_loss -0.108"),
        ({"gaps": WORSE, "sign": -1.0}, "better", "better than old.json: val_loss +0.108"),
        ({"gaps": WORSE}, "worse", "worse than old.json: the best other schedule (warmup + poly"),
        ({"gaps": CLEAR, "sign": -1.0}, "worse", "has val_loss -0.108"),
        ({"gaps": WORSE[:2]}, "worse", "so old.json itself is recommended"),
        ({"gaps": (), "lost": 2}, "worse", "did not train to its end on fresh seeds"),
        ({"gaps": CLEAR[:3], "lost": 1}, "worse", "did not train to its end on fresh seeds"),
        ({"gaps": NOISE}, "unresolved", "neither better nor worse than old.json: val_loss -0.02"),
        ({"gaps": [-gap for gap in NOISE]}, "unresolved", "so old.json itself is recommended"),
        ({"gaps": CLEAR[:4]}, "unresolved", "5 can confirm"),
        ({"gaps": WORSE[:1]}, "unresolved", "so old.json itself is recommended"),
        ({"gaps": CLEAR[:1]}, "unresolved", "1 pair"),
        ({"gaps": ()}, "unresolved", "the gain is unknown"),
        ({"challenger": IN_USE, "gaps": ()}, "unresolved", "nothing came out ahead"),
        ({"baseline": TUNED, "gaps": CLEAR}, "unresolved", "not compared with old.json"),
    ],
)
def test_each_outcome_of_a_job(job, outcome, words):
    found = judged(**job)
    assert found.outcome == outcome
    assert words in found.reason


def test_the_numbers_are_the_new_one_minus_the_one_in_use_whichever_is_recommended():
    for gaps in (CLEAR, WORSE):
        found = judged(gaps=gaps)
        mean = sum(gaps) / 5
        assert found.difference == pytest.approx(mean)
        assert found.ci95[0] < mean < found.ci95[1]
        assert (found.metric, found.pairs) == ("val_loss", 5)
    worse = judged(gaps=WORSE)
    assert "mean 0.608 against 0.5" in worse.reason
    assert "p = " not in worse.reason  # the test is one-sided, and of the other side
    assert worse.ci95 == pytest.approx([-bound for bound in reversed(judged(gaps=CLEAR).ci95)])


def test_rates_that_are_the_same_are_not_worse():
    found = judged(challenger=IN_USE.model_copy(), gaps=(0.0,) * 5)
    assert found.outcome == "unresolved"


def test_a_schedule_in_epochs_is_the_same_in_steps():
    epochs = load(
        {
            "unit": "epoch",
            "total_steps": 4,
            "peak_lr": 0.1,
            "body": {"family": "step", "every": 2.0, "rate": 0.1},
        }
    )
    job = recommended(baseline=epochs.in_steps(PER_EPOCH), gaps=WORSE)
    assert standing(job, epochs, "old.json").outcome == "worse"


def test_what_was_never_compared_is_refused():
    bare = load(NEW.document)
    with pytest.raises(InvalidInputError, match="no verdict"):
        standing(bare, load(IN_USE.document), "old.json")
    seconds = load({**IN_USE.document, "unit": "second"})
    with pytest.raises(InvalidInputError, match="seconds"):
        standing(recommended(gaps=CLEAR), seconds, "old.json")
