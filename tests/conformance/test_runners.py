"""What every runner does: the same runs as one process, whatever happens in one of them."""

from collections import deque
from contextlib import closing
from functools import partial

import pytest

from lrtuner.errors import NothingTrainedError
from lrtuner.lifecycle import Stage
from lrtuner.schedules.grammar import Schedule
from tests.conformance.misbehaving import MARK, NOT_A_NUMBER
from tests.worker.code.conftest import code_spec
from tests.worker.conftest import CPU, ListJournal, pipeline_of
from worker.device import prepare
from worker.failure import explained
from worker.planner import Request
from worker.remote import RemoteTask
from worker.runners.pool import Pool
from worker.runners.runner import Began, Ended, Gave, InTurn, Work, in_order
from worker.runners.slot import Slot
from worker.runs import Runs
from worker.sandbox.limits import Limits
from worker.sandbox.process import Sandbox
from worker.sandbox.trainer import SandboxedTask
from worker.serve import ordered
from worker.task import make_task
from worker.trainer import train

SPEC = code_spec(
    model={"source": "entrypoint", "target": "tests.conformance.misbehaving:build"},
    search={"budget": {"full_runs": 12}, "confirm_pairs": 2, "compare": ["schedule_free"]},
)

RUNNERS = {
    "this process": lambda: InTurn(make_task(SPEC, CPU)),
    "one slot": lambda: InTurn(slot()),
    "two slots": lambda: Pool(slot(), slot, 2),
    "two sandboxes": lambda: Pool(sandbox(), sandbox, 2),
}
QUICK = ("this process", "two slots")


def slot():
    return RemoteTask(SPEC, partial(Slot, ordered(SPEC)))


def sandbox():
    limits = Limits(memory_mb=2048, answer_seconds=60.0)
    return SandboxedTask(SPEC, partial(Sandbox, limits=limits))


@pytest.fixture(scope="module")
def here():
    prepare(CPU)
    return InTurn(make_task(SPEC, CPU))


@pytest.fixture(
    scope="module",
    params=[n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in RUNNERS],
)
def named(request, tmp_path_factory):
    """A runner and its name; one for all tests, so each sees what the others left."""
    prepare(CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, str(tmp_path_factory.mktemp("mark") / "killed"))
        runner = RUNNERS[request.param]()
        yield request.param, runner
        runner.close()
        if isinstance(runner.trainer, RemoteTask):
            runner.trainer.close()


@pytest.fixture
def runner(named):
    return named[1]


@pytest.fixture
def apart(named):
    """The same, where runs are trained in processes of their own."""
    name, runner = named
    if name == "this process":
        pytest.skip("what ends the process ends the test")
    return runner


def request(seed=1, peak=0.1, cooldown=20):
    parts = {"start": 40 - cooldown, "steps": cooldown}
    body = {"family": "constant"}
    schedule = Schedule.model_validate(
        {"total_steps": 40, "peak_lr": peak, "body": body, "cooldown": parts}
    )
    return Request("screen", Stage.SEARCH, f"{peak} {cooldown}", schedule, seed)


def runs_of(runner):
    journal = ListJournal()
    return Runs(SPEC, runner, journal, charged=0.0, records={}), journal


def made(runner, asked):
    runs, _ = runs_of(runner)
    return [_timeless(record) for record in runs.make(asked, lambda: True)]


def _timeless(record):
    return record.model_dump(mode="json", exclude={"seconds", "number"})


# two that share their start, others on the same seed that do not, and another seed
SEVERAL = [
    request(cooldown=30),
    request(peak=0.05),
    request(cooldown=10),
    request(seed=2),
    request(seed=2, peak=0.2),
    request(seed=3, peak=1e6),
]


def test_records_do_not_depend_on_who_trains_nor_in_which_order(runner, here):
    wanted = made(here, SEVERAL)
    assert made(runner, SEVERAL) == wanted
    order = [4, 5, 3, 0, 1, 2]  # of what shares a start, as before
    assert made(runner, [SEVERAL[i] for i in order]) == [wanted[i] for i in order]
    assert {record["state"] for record in wanted} == {"complete", "diverged"}


def test_a_run_begins_before_it_ends_and_each_does_so_once(runner):
    runs, journal = runs_of(runner)
    records = runs.make(SEVERAL, lambda: True)
    assert sorted(journal.started) == sorted(t.number for t in journal.trials) == [*range(6)]
    assert [record.number for record in records] == [*range(6)]


def test_what_is_not_a_number_is_a_result(runner, here):
    asked = [request(seed=NOT_A_NUMBER), request()]
    found = made(runner, asked)
    assert found == made(here, asked)
    assert [record["state"] for record in found] == ["diverged", "complete"]


def test_a_run_that_raises_fails_alone(runner, here):
    # it shares its start with another one, and both are of the seed that raises
    asked = [request(seed=901), request(), request(seed=901, cooldown=10)]
    found = made(runner, asked)
    assert found == made(here, asked)
    assert [record["state"] for record in found] == ["failed", "complete", "failed"]
    assert "ValueError: bad layer" in found[0]["error"]["message"]


def test_memory_that_runs_out_is_told_of(runner, here):
    found = made(runner, [request(seed=905), request()])
    assert [record["state"] for record in found] == ["failed", "complete"]
    assert found[0]["error"]["code"] == "out_of_memory"
    assert found == made(here, [request(seed=905), request()])


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        (902, "its process ended with status 7"),
        pytest.param(903, "its process was killed by SIGKILL", marks=pytest.mark.slow),
        pytest.param(904, "its process was killed by SIGSEGV", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_ends_its_process_fails_alone(apart, here, seed, words):
    asked = [request(seed=seed), request(), request(peak=0.2)]
    found = made(apart, asked)
    assert [record["state"] for record in found] == ["failed", "complete", "complete"]
    assert found[0]["error"]["code"] in ("process_died", "code.crashed")
    assert words in found[0]["error"]["message"]
    assert found[1:] == made(here, asked[1:])


def test_a_process_that_is_killed_during_a_run_changes_nothing(named, apart, here, tmp_path):
    if named[0] == "two sandboxes":
        pytest.skip("a sandbox has no environment, and what it runs is not asked for again")
    asked = [request(seed=906, cooldown=n) for n in (30, 20, 10)]
    found = made(apart, asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, str(tmp_path))  # killed before
        assert found == made(here, asked)
    assert {record["state"] for record in found} == {"complete"}


def test_runs_that_keep_failing_end_the_job_in_the_same_words(runner, here):
    asked = [request(seed=901, peak=n / 100) for n in (1, 2, 3, 4)] + [request()]
    told = []
    for one in (runner, here):
        runs, _ = runs_of(one)
        with pytest.raises(NothingTrainedError) as caught:
            runs.make(asked, lambda: True)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert made(runner, [request()]), "it can be used again"


def test_one_that_completed_before_they_failed_keeps_the_job(runner):
    asked = [request()] + [request(seed=901, peak=n / 100) for n in (1, 2, 3)]
    assert [record["state"] for record in made(runner, asked)] == ["complete", *["failed"] * 3]


def test_whoever_stops_listening_ends_what_works(runner):
    works = deque(Work(lambda trainer, n=n: _trained(trainer, n)) for n in range(4))
    with closing(runner.make(works)) as events:
        assert isinstance(next(events), Began)
    assert made(runner, [request()])


def _trained(trainer, seed):
    yield train(trainer, [0.1] * 20, seed)


def test_nothing_begins_once_it_may_not(runner):
    works = [Work(lambda trainer, n=n: _trained(trainer, n)) for n in range(4)]
    waiting, asked = deque(works), []

    def goes_on(work):
        asked.append(work)
        return len(asked) < 3

    events = list(runner.make(waiting, goes_on))
    for kind in (Began, Gave, Ended):
        assert [
            e.work for e in sorted(events, key=lambda e: works.index(e.work)) if type(e) is kind
        ] == works[:2]
    assert asked == works[:3]
    assert not waiting


def test_what_is_put_in_while_it_works_is_made_too(runner):
    first, second = (Work(lambda trainer, n=n: _trained(trainer, n)) for n in range(2))
    waiting, ended = deque([first]), []
    for event in runner.make(waiting):
        if isinstance(event, Ended):
            assert event.error is None
            ended.append(event.work)
            if event.work is first:
                waiting.append(second)
    assert ended == [first, second]


def test_results_come_in_the_order_of_asking_up_to_the_first_that_fails(runner):
    seeds = [1, 2, 901, 3]
    found = []

    def collect():
        works = [Work(lambda trainer, n=n: _trained(trainer, n)) for n in seeds]
        found.extend(run.state for run in in_order(runner, works))

    with pytest.raises(Exception, match="bad layer") as caught:
        collect()
    assert explained(caught.value).code == "code.failed"
    assert found == ["complete", "complete"]


def test_a_whole_job_gives_the_same_bytes(runner, here):
    (found, journal), (wanted, plain) = _job(runner), _job(here)
    assert found == wanted
    assert journal.stages == plain.stages
    assert _lines(journal) == _lines(plain)


def _job(runner):
    journal = ListJournal()
    pipeline = pipeline_of(SPEC, journal)
    pipeline.runner = runner
    return pipeline.run().text(), journal


def _lines(journal):
    ordered_by_number = sorted(journal.trials, key=lambda trial: trial.number)
    return [trial.model_dump_json(exclude={"seconds"}) for trial in ordered_by_number]
