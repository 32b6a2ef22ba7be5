"""What an attempt writes down: trials, stages, events and documents, on every database."""

import pytest

from lrtuner.errors import ConflictError, InvalidInputError, NotFoundError
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.store import queue, reading


@pytest.fixture
def claim(store):
    store.enqueue()
    return store.claim()


def start(store, claim, number=0, **document):
    store.do(queue.start_trial, claim, number=number, phase="search", document=document)


def finish(store, claim, number=0, state=TrialState.COMPLETE, value=1.5, cost=0.25, **document):
    values = {"number": number, "state": state, "value": value, "cost": cost, "document": document}
    store.do(queue.finish_trial, claim, **values)


def trials(store, claim):
    return store.read(reading.list_trials, claim.job_id, after=-1, limit=100)


def rescue(store, claim):
    store.expire_lease(claim.job_id)
    return store.claim()


def test_a_trial_starts_and_finishes(store, claim):
    start(store, claim, lr=0.1)
    (trial,) = trials(store, claim)
    assert (trial.number, trial.attempt, trial.phase, trial.state) == (0, 1, "search", "running")
    assert (trial.value, trial.cost, trial.document) == (None, None, {"lr": 0.1})
    assert trial.finished_at is None

    finish(store, claim, lr=0.1, curve=[1.0, 0.5])
    (trial,) = trials(store, claim)
    assert (trial.state, trial.value, trial.cost) == (TrialState.COMPLETE, 1.5, 0.25)
    assert trial.document == {"lr": 0.1, "curve": [1.0, 0.5]}
    assert trial.finished_at >= trial.started_at


def test_a_diverged_trial_has_no_value(store, claim):
    start(store, claim)
    finish(store, claim, state=TrialState.DIVERGED, value=None)
    (trial,) = trials(store, claim)
    assert (trial.state, trial.value) == (TrialState.DIVERGED, None)


def test_a_trial_left_running_is_taken_over_by_the_next_attempt(store, claim):
    start(store, claim, by="first")
    second = rescue(store, claim)
    with pytest.raises(ConflictError, match="not started by attempt 2"):
        finish(store, second)
    start(store, second, by="second")
    (trial,) = trials(store, claim)
    assert (trial.attempt, trial.state, trial.document) == (2, "running", {"by": "second"})
    finish(store, second)


@pytest.mark.parametrize("state", [state for state in TrialState if state.is_finished])
def test_a_finished_trial_never_changes(store, claim, state):
    start(store, claim)
    finish(store, claim, state=state)
    before = trials(store, claim)
    with pytest.raises(ConflictError, match=state):
        finish(store, claim, value=9.0)
    second = rescue(store, claim)
    with pytest.raises(ConflictError, match=state):
        start(store, second, lr=9.0)
    with pytest.raises(ConflictError, match=state):
        finish(store, second, value=9.0)
    assert trials(store, claim) == before


def test_finishing_needs_a_start_and_an_end(store, claim):
    with pytest.raises(NotFoundError, match="trial 0"):
        finish(store, claim)
    start(store, claim)
    with pytest.raises(ValueError, match="running"):
        finish(store, claim, state=TrialState.RUNNING)


def test_a_stage_is_finished_once(store, claim):
    def results():
        return store.read(reading.list_stages, claim.job_id)

    assert results() == {}
    assert store.read(reading.get_stage, claim.job_id, Stage.SEARCH) is None
    store.do(queue.finish_stage, claim, stage=Stage.SEARCH, result={"best": 3})
    store.do(queue.finish_stage, claim, stage=Stage.RANGE_TEST, result={"steep": 0.1})
    second = rescue(store, claim)
    for late in (second, second):
        with pytest.raises(ConflictError, match="search was finished by attempt 1"):
            store.do(queue.finish_stage, late, stage=Stage.SEARCH, result={"best": 4})
    assert store.read(reading.get_stage, claim.job_id, Stage.SEARCH) == {"best": 3}
    assert list(results()) == ["range_test", "search"]


def test_progress_is_replaced(store, claim):
    assert store.job(claim.job_id).progress is None
    store.do(queue.set_progress, claim, progress={"trials_finished": 1})
    store.do(queue.set_progress, claim, progress={"phase": "search"})
    assert store.job(claim.job_id).progress == {"phase": "search"}


def test_events_are_numbered_in_the_order_they_are_written(store, claim):
    details = {"kind": "trial.finished", "phase": "search", "message": "m", "data": {"n": 1}}
    store.do(queue.add_event, claim, **details)
    event = store.events(claim.job_id)[-1]
    assert (event.seq, event.kind, event.phase) == (3, "trial.finished", "search")
    assert (event.message, event.data) == ("m", {"n": 1})


DOCUMENT = {
    "z": 1,
    "a": [0.1, 1e-320, 1.7976931348623157e308, -0.0, 12345678901234567890],
    "text": "größer 🎉 \u2028 \x00 \ud800 '\"\\",
    "": {"nested": [None, True, {}, []]},
}


def test_documents_survive_unchanged(store):
    job_id = store.enqueue(spec=DOCUMENT)
    claim = store.claim()
    assert repr(claim.spec) == repr(DOCUMENT)  # order of keys, -0.0 and all
    start(store, claim, **DOCUMENT)
    store.do(queue.finish_stage, claim, stage=Stage.SEARCH, result=DOCUMENT)
    store.do(queue.set_progress, claim, progress=DOCUMENT)
    store.do(queue.add_event, claim, kind="k", phase=None, message="", data=DOCUMENT)
    job = store.job(job_id)
    read_back = [
        job.spec,
        job.progress,
        store.read(reading.get_stage, job_id, Stage.SEARCH),
        store.events(job_id)[-1].data,
        trials(store, claim)[0].document,
    ]
    assert [repr(document) for document in read_back] == [repr(DOCUMENT)] * len(read_back)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_that_json_cannot_say_reaches_the_database(store, claim, number):
    start(store, claim)
    writes = [
        lambda: store.enqueue(spec={"x": number}),
        lambda: finish(store, claim, value=number),
        lambda: finish(store, claim, cost=number),
        lambda: finish(store, claim, curve=[number]),
        lambda: store.do(queue.finish_stage, claim, stage=Stage.SEARCH, result={"x": number}),
        lambda: store.do(queue.set_progress, claim, progress={"x": number}),
        lambda: store.do(queue.fail, claim, error={"x": number}),
    ]
    for write in writes:
        with pytest.raises(ValueError, match=r"number|JSON"):
            write()
    assert trials(store, claim)[0].state is TrialState.RUNNING
    assert store.job(claim.job_id).progress is None
    assert len(store.read(reading.list_jobs, limit=10).items) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a\x00b"},
        {"name": "\ud800"},
        {"name": "n" * 201},
        {"metadata": {"\x00": "v"}},
        {"metadata": {"k" * 65: "v"}},
        {"metadata": {"k": "v" * 513}},
    ],
)
def test_text_that_one_database_would_refuse_is_refused_by_both(store, values):
    with pytest.raises(InvalidInputError, match="text"):
        store.enqueue(**values)
    assert store.read(reading.list_jobs, limit=10).items == []


def test_the_longest_labels_fit_into_their_index(store):
    labels = {
        "🎉" * 63 + str(number): "".join(map(chr, range(0x10000, 0x10200))) for number in (1, 2)
    }
    job_id = store.enqueue(name="🎉" * 200, metadata=labels)
    assert store.job(job_id).metadata == labels
