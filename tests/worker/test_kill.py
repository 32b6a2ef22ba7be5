"""A job that is killed at any moment and goes on elsewhere ends as if nothing had happened."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.worker.conftest import ListJournal, pipeline_of, spec_of
from worker import probes, range_test, runs
from worker.journal import History

SPECS = {
    "pairs": spec_of(
        search={
            "families": ["polynomial", "constant"],
            "budget": {"full_runs": 15},
            "confirm_pairs": 2,
        }
    ),
    "all rounds": spec_of(
        search={
            "families": ["cosine", "constant"],
            "budget": {"full_runs": 22},
            "confirm_pairs": 2,
            "compare": ["schedule_free"],
        },
        baseline={"total_steps": 40, "peak_lr": 0.05, "body": {"family": "constant"}},
    ),
}
POINTS = 10
"""So many for each of the jobs, at random; a few more where much is at stake."""


class Killed(BaseException):
    """Stands for a process that dies: nothing may catch it."""


class MortalJournal(ListJournal):
    """Dies before it writes its message number `at`; `kinds` has those before."""

    def __init__(self, at=None):
        super().__init__()
        self.at, self.kinds = at, []

    def _message(self, kind):
        if len(self.kinds) == self.at:
            raise Killed
        self.kinds.append(kind)

    def event(self, kind, message, phase, data):
        self._message(kind)
        super().event(kind, message, phase, data)

    def trial_started(self, trial):
        self._message(f"start {trial.number}")
        super().trial_started(trial)

    def trial_finished(self, trial, progress):
        self._message(f"{trial.purpose} {trial.number}")
        super().trial_finished(trial, progress)

    def stage_finished(self, stage, result):
        self._message(f"end of {stage}")
        super().stage_finished(stage, result)


def remembered(monkeypatch, memory):
    """Train everything once only: training is repeatable, which other tests see to."""

    def memo(module, name, key):
        real = getattr(module, name)

        def call(*args, **how):
            at = (name, key(*args), tuple(sorted(how.items())))
            if at not in memory:
                found = real(*args, **how)
                memory[at] = list(found) if name == "train_together" else found
            return iter(memory[at]) if name == "train_together" else memory[at]

        monkeypatch.setattr(module, name, call)

    def rates(sequences):
        return tuple(np.asarray(one).tobytes() for one in sequences)

    memo(runs, "train_together", lambda task, sequences, seed: (task.spec, rates(sequences), seed))
    memo(probes, "train", lambda task, sequence, seed: (task.spec, rates([sequence]), seed))
    memo(range_test, "one_sweep", lambda task, lrs, seed: (task.spec, tuple(lrs), seed))


MEMORY: dict[Any, Any] = {}


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.setattr(type(SPECS["pairs"]), "__hash__", lambda spec: hash(spec.model_dump_json()))
    remembered(monkeypatch, MEMORY)


WHOLE: dict[str, Any] = {}


def whole(name):
    """The job as it goes where nothing happens."""
    if name not in WHOLE:
        torch.set_num_threads(1)
        journal = MortalJournal()
        WHOLE[name] = pipeline_of(SPECS[name], journal).run(), journal
    return WHOLE[name]


def killed(name, at, history=None):
    """What is left of a job that is killed before its message number `at`."""
    history = history or History()
    journal = MortalJournal(at)
    with pytest.raises(Killed):
        pipeline_of(SPECS[name], journal, history).run()
    return History(
        stages={**history.stages, **journal.stages},
        trials=tuple(sorted((*history.trials, *journal.trials), key=lambda t: t.number)),
    )


def check_resumed(name, history):
    """It ends as the uninterrupted job did, and makes no run again."""
    expected, uninterrupted = whole(name)
    journal = ListJournal()
    document = pipeline_of(SPECS[name], journal, history, job_id="other", now="later").run()
    assert anonymous(document) == anonymous(expected)
    assert not {t.number for t in history.trials} & set(journal.started)
    assert timeless([*history.trials, *journal.trials]) == timeless(uninterrupted.trials)
    assert {**history.stages, **journal.stages} == uninterrupted.stages


def anonymous(document):
    """Its text without the id of the job and the time."""
    same = {"job_id": "job", "created_at": "then"}
    return document.model_copy(
        update={"provenance": document.provenance.model_copy(update=same)}
    ).text()


def timeless(trials):
    return [t.model_copy(update={"seconds": None}) for t in sorted(trials, key=lambda t: t.number)]


def points(name, count):
    kinds = whole(name)[1].kinds
    return random.Random(name).sample(range(len(kinds)), count)


@pytest.mark.parametrize("name", SPECS)
def test_killed_anywhere_it_resumes_to_the_same_bytes(memory, name):
    for at in points(name, POINTS):
        check_resumed(name, killed(name, at))


@pytest.mark.parametrize("name", SPECS)
def test_killed_within_a_generation_or_a_pair_it_resumes_to_the_same_bytes(memory, name):
    kinds = whole(name)[1].kinds
    finished = [i for i, kind in enumerate(kinds) if kind.split()[0] in ("screen", "final")]
    pairs = [i for i, kind in enumerate(kinds) if kind.split()[0] in ("recommended", "reference")]
    assert len(pairs) == 4
    within = [finished[1], finished[len(finished) // 2], finished[-1], pairs[1], pairs[3]]
    for at in within:
        history = killed(name, at)
        assert history.trials
        check_resumed(name, history)


def test_killed_again_and_again_it_resumes_to_the_same_bytes(memory):
    history = None
    for at in (22, 9, 4, 10, 5):
        history = killed("pairs", at, history)
    check_resumed("pairs", history)


def test_what_is_trained_again_is_the_same():
    name = "pairs"
    kinds = whole(name)[1].kinds
    within = [i for i, kind in enumerate(kinds) if kind.split()[0] in ("screen", "final")]
    for at in (within[3], within[-1]):
        check_resumed(name, killed(name, at))


def test_an_attempt_that_lost_its_time_is_charged_it(memory, monkeypatch):
    limited = SPECS["pairs"].model_copy(deep=True)
    budget = limited.search.budget.model_copy(update={"max_minutes": 60.0})
    limited = limited.model_copy(
        update={"search": limited.search.model_copy(update={"budget": budget})}
    )
    monkeypatch.setitem(SPECS, "limited", limited)
    at = whole("limited")[1].kinds.index("stage.started", 12)
    history = replace(killed("limited", at), elapsed_seconds=3601.0)
    journal = ListJournal()
    document = pipeline_of(limited, journal, history).run()
    assert journal.started == []
    assert document.verdict.status == "estimated"
