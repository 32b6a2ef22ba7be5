"""Many workers, reapers and writers at once, on every database."""

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from lrtuner.errors import ConflictError, LeaseLostError
from lrtuner.lifecycle import JobStatus
from lrtuner.store import queue
from tests.conformance.claimer import PER_ROUND

JOBS = 200


def together(count, work):
    """Run `work(n)` in `count` threads that start at the same moment; the results."""
    barrier = threading.Barrier(count)

    def start(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def fill(store):
    """Half of the jobs wait, half belong to dead workers; the attempt that each needs next."""

    def enqueue_all(connection):
        values = {"spec": {}, "name": None, "metadata": {}}
        return [queue.enqueue(connection, **values) for _ in range(JOBS)]

    def claim_half(connection):
        # Under long leases that expire afterwards, so that no job is taken twice already here.
        claims = [queue.claim(connection, owner="dead", lease_seconds=60) for _ in range(JOBS // 2)]
        return [claim.job_id for claim in claims]

    job_ids = store.do(enqueue_all)
    dead = store.do(claim_half)
    for job_id in dead:
        store.expire_lease(job_id)
    return {job_id: 2 if job_id in dead else 1 for job_id in job_ids}


def test_threads_claim_every_job_once(store):
    expected = fill(store)

    def drain(number):
        claims = []
        while (claim := store.claim(owner=f"w{number}", lease_seconds=600)) is not None:
            claims.append((claim.job_id, claim.attempt))
        return claims

    claimed = [claim for claims in together(6, drain) for claim in claims]
    assert Counter(claimed) == Counter(expected.items())


def test_processes_claim_every_job_once(store, database_url, pytestconfig):
    expected = fill(store)
    command = [sys.executable, "-m", "tests.conformance.claimer", database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen([*command, f"w{number}"], cwd=pytestconfig.rootpath, **pipes)
            )
            for number in range(3)
        ]
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        rounds = [claim_at_once(workers)]
        # In rounds, so that none can have taken everything before another has begun.
        assert all(len(mine) == PER_ROUND for mine in rounds[0])
        while any(rounds[-1]):
            rounds.append(claim_at_once(workers))
        for worker in workers:
            worker.communicate(timeout=60)
    claimed = [tuple(claim) for claims in rounds for mine in claims for claim in mine]
    assert Counter(claimed) == Counter(expected.items())


def claim_at_once(workers):
    """One round of all processes at the same time; what each of them claimed."""
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    return [json.loads(worker.stdout.readline()) for worker in workers]


def test_reapers_do_not_get_in_each_others_way(store):
    doomed = {store.enqueue(max_attempts=1) for _ in range(30)}
    while store.claim(lease_seconds=-1):
        pass
    reaped = [job_id for ids in together(4, lambda _: store.do(queue.reap)) for job_id in ids]
    reaped += store.do(queue.reap)
    assert sorted(reaped) == sorted(doomed)
    for job_id in doomed:
        assert [event.kind for event in store.events(job_id)].count("job.failed") == 1


def test_events_of_many_writers_have_no_gaps(store):
    job_id = store.enqueue()
    claim = store.claim()

    def write(number):
        for step in range(15):
            if number == 0 and step == 10:
                store.do(queue.cancel, job_id)
            data = {"from": number, "step": step}
            try:
                store.do(queue.add_event, claim, kind="k", phase=None, message="", data=data)
            except LeaseLostError:
                return step
        return 15

    written = sum(together(4, write))
    events = store.events(job_id)
    assert len(events) == 2 + written + 1
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].kind == "job.cancelling"
    for number in range(4):
        steps = [event.data["step"] for event in events if event.data.get("from") == number]
        assert steps == sorted(steps)


@pytest.mark.parametrize("repeat", range(5))
def test_cancel_and_success_at_once(store, repeat):
    job_id = store.enqueue()
    claim = store.claim()

    def act(number):
        try:
            if number == 0:
                store.do(queue.succeed, claim, recommendation="{}")
            else:
                store.do(queue.cancel, job_id)
        except (ConflictError, LeaseLostError) as error:
            return error
        return None

    refused = [error for error in together(2, act) if error]
    assert len(refused) == 1
    won = JobStatus.CANCELLING if isinstance(refused[0], LeaseLostError) else JobStatus.SUCCEEDED
    assert store.job(job_id).status is won
