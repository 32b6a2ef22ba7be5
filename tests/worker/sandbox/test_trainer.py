"""What comes out of a sandbox is checked: every lie that could harm others ends it."""

import json

import pytest

from tests.worker.conftest import ListJournal, pipeline_of, spec_of
from worker.remote import RemoteError
from worker.sandbox.errors import CodeError
from worker.sandbox.trainer import SandboxedTask

SPEC = spec_of()

FACTS = {
    "total_steps": 40,
    "steps_per_epoch": 7,
    "examples_per_evaluation": 27,
    "num_validation": 27,
    "num_test": 27,
    "num_bytes": 9968,
    "streamed": False,
    "digest": "sha256:" + "0" * 64,
}

RUN = {
    "state": "complete",
    "updates": 2,
    "rates": [0.1, 0.1],
    "cost": 0.1,
    "alone": 0.1,
    "seconds": 0.5,
    "curve": {"steps": [2], "train_loss": [0.5], "val_loss": [0.5]},
    "metrics": {"val_loss": 0.5, "val_accuracy": 0.5},
    "gradient_norms": None,
    "reason": None,
}

SWEEP = {"seed": 3, "lrs": [0.1, 0.2], "losses": [1.0, None], "updates": 1, "held_out": None}

# answers `describe` as it should, and every other question with what the test says
ANSWERS = """
while True:
    asked = pipe.receive()
    if asked["ask"] == "describe":
        pipe.send({"number": asked["number"], "answer": facts})
        continue
    for answer in answers:
        pipe.send({"number": asked["number"], **answer})
"""


@pytest.fixture
def task(start):
    """A sandboxed task that answers every question with these messages."""
    opened = []

    def made(*answers, facts=None, code=ANSWERS, spec=SPEC):
        known = {"answers": answers, "facts": {**FACTS, **(facts or {})}}
        task = SandboxedTask(spec, lambda _entry, _payload: start(code, known=known))
        opened.append(task)
        return task

    yield made
    for one in opened:
        one.close()


def train(task, sequences=((0.1, 0.1),), **how):
    asked = {"test": False, "norms": False, "target": None, **how}
    return list(task.train_together(sequences, 3, **asked))


def run(position=0, **changes):
    return {"answer": {"position": position, "run": {**RUN, **changes}}}


def test_an_honest_answer_is_taken(task):
    [(position, found)] = train(task(run()))
    assert (position, found.metrics["val_loss"], found.state) == (0, 0.5, "complete")


@pytest.mark.parametrize(
    "lie",
    [
        {"answer": {"position": 1, "run": RUN}},
        {"answer": {"position": -1, "run": RUN}},
        {"answer": {"position": "0", "run": RUN}},
        {"answer": {"run": RUN}},
        {"answer": {"position": 0, "run": RUN, "more": 1}},
        {"answer": [RUN]},
        {"answer": None},
        {"number": 99, "answer": {"position": 0, "run": RUN}},
        {"failure": {"code": 7, "message": "x"}},
        {"failure": {"code": "x"}},
        run(state="running"),
        run(state="queued"),
        run(state="failed"),
        run(updates=1, rates=[0.1]),
        run(updates=3, rates=[0.1, 0.1, 0.1]),
        run(updates=0, rates=[], state="diverged", reason="x"),
        run(rates=[0.1]),
        run(rates=["0.1", "0.1"]),
        run(cost=-1.0),
        run(cost=0.0),
        run(alone=0.0),
        run(seconds=-1.0),
        run(cost="free"),
        run(metrics={}),
        run(metrics={"val_loss": None}),
        run(metrics={"val_loss": "0.5"}),
        run(metrics={f"m{i}": 1.0 for i in range(1000)} | {"val_loss": 1.0}),
        run(curve={"steps": [1, 2], "train_loss": [0.5], "val_loss": [0.5]}),
        run(reason="diverged, though complete"),
        run(state="diverged"),
        run(state="diverged", reason="x" * 10_000),
        run(state="diverged", reason="x", gradient_norms="none"),
    ],
    ids=lambda lie: json.dumps(lie)[:60],
)
def test_a_lie_ends_the_sandbox(task, lie):
    lying = task(lie)
    with pytest.raises(CodeError) as caught:
        train(lying)
    assert caught.value.code == "code.protocol"


def test_runs_come_once_each(task):
    with pytest.raises(CodeError, match="run 0"):
        train(task(run(), run()), [[0.1, 0.1], [0.2, 0.2]])


def test_runs_that_share_everything_with_each_other_still_cost_something(task):
    cheap = [run(i, cost=0.0) for i in range(2)]
    with pytest.raises(CodeError, match="cost 0 together"):
        train(task(*cheap), [[0.1, 0.1], [0.2, 0.2]])


def test_an_answer_too_long_for_its_question(task):
    code = ANSWERS.replace(
        'pipe.send({"number": asked["number"], **answer})',
        """
        pipe.send({"number": asked["number"], "answer": {"x": "y" * 3_000_000}})""",
    )
    with pytest.raises(CodeError, match="at most") as caught:
        train(task(run(), code=code))
    assert caught.value.code == "code.protocol"


@pytest.mark.parametrize(
    "changes",
    [{"seed": 4}, {"lrs": [0.1]}, {"losses": []}, {"updates": 3}, {"held_out": [0.1]}, {"x": 1}],
    ids=str,
)
def test_a_sweep_must_be_the_one_that_was_asked_for(task, changes):
    assert task({"answer": SWEEP}).one_sweep([0.1, 0.2], 3).losses == [1.0, None]
    with pytest.raises(CodeError) as caught:
        task({"answer": {**SWEEP, **changes}}).one_sweep([0.1, 0.2], 3)
    assert caught.value.code == "code.protocol"


@pytest.mark.parametrize(
    "facts",
    [{"total_steps": 0}, {"batch_size": -1}, {"num_test": 10**30}, {"digest": "x"}, {"x": 1}],
    ids=str,
)
def test_sizes_that_cannot_be(task, facts):
    with pytest.raises(CodeError) as caught:
        task(facts=facts)
    assert caught.value.code == "code.protocol"


def test_what_the_code_raised_is_told_as_it_told_it(task):
    failing = task({"failure": {"code": "raised", "message": "ValueError: \x00 no"}})
    with pytest.raises(RemoteError, match=r"ValueError: \? no") as caught:
        train(failing)
    assert caught.value.code == "raised"


def test_after_an_end_the_next_question_starts_anew(task):
    crashing = task(code=ANSWERS.replace("for answer", "import os; os._exit(3)\n    for answer"))
    for _ in range(2):
        with pytest.raises(CodeError, match="status 3") as caught:
            train(crashing)
        assert caught.value.code == "code.crashed"


def test_after_a_failure_it_goes_on_in_the_same_sandbox(task):
    failing = task({"failure": {"code": "raised", "message": "no"}})
    first = failing._link.pid
    for _ in range(2):
        with pytest.raises(RemoteError):
            train(failing)
    assert failing._link.pid == first


def test_whoever_takes_one_run_only_can_go_on(task):
    two = [[0.1, 0.1], [0.2, 0.2]]
    honest = task(run(0), run(1))
    for _ in range(2):
        for position, _ in honest.train_together(two, 3, test=False, norms=False, target=None):
            assert position == 0
            break
    assert len(train(honest, two)) == 2


def test_a_task_must_stay_the_same(task, monkeypatch):
    changing = task(run())
    changing.close()
    changing._facts = changing.facts.model_copy(update={"total_steps": 41})
    with pytest.raises(CodeError, match="another task"):
        train(changing)


def test_a_job_whose_code_only_crashes_fails_with_the_reason(task):
    crashing = task(code=ANSWERS.replace("for answer", "import os; os._exit(3)\n    for answer"))
    journal = ListJournal()
    pipeline = pipeline_of(SPEC, journal)
    pipeline.task = crashing
    with pytest.raises(Exception, match=r"code\.crashed: its process ended with status 3"):
        pipeline.run()
    assert [t.error.code for t in journal.trials] == ["code.crashed"] * 3
