"""Whose turn it is: fairness between keys and the cap of what runs, on every database."""

import random
from collections import Counter, deque

import pytest

from lrtuner.store import queue
from tests.conformance.test_queue_races import together


def names(store, count):
    """Whose jobs are claimed, in order; each ends at once."""
    owners = {}
    for _ in range(count):
        claim = store.claim()
        store.do(queue.fail, claim, error={})
        owners[claim.job_id] = claim.spec["of"]
    return "".join(owners.values())


def submit(store, keys, **options):
    """A job of each key, in that order; their ids."""
    return [
        store.enqueue(key_id=None if key == "-" else key, spec={"of": key}, **options)
        for key in keys
    ]


def test_who_floods_the_queue_holds_up_nobody(store):
    submit(store, "aaaaaaaaaa")
    assert names(store, 2) == "aa"
    submit(store, "bcbb")
    assert names(store, 12) == "abcababaaaaa"


def test_jobs_without_a_key_take_turns_as_one(store):
    submit(store, "----a")
    assert names(store, 5) == "-a---"


@pytest.mark.parametrize("key", ["a", "-"])
def test_one_key_alone_is_served_in_order_of_arrival(store, key):
    ids = submit(store, [key] * 4)
    claimed = [store.claim() for _ in range(2)]
    store.do(queue.fail, claimed[0], error={})
    ids += submit(store, [key] * 2)
    claimed += [store.claim() for _ in range(4)]
    assert [claim.job_id for claim in claimed] == ids


def test_every_priority_has_its_own_turns(store):
    submit(store, "aaa", priority=50)
    submit(store, "aab", priority=100)
    assert names(store, 6) == "aaaaba"


def test_who_comes_late_is_neither_ahead_nor_behind(store):
    submit(store, "a" * 20)
    names(store, 10)
    submit(store, "bbbbb")
    assert names(store, 6) == "ababab"


def test_what_was_cancelled_is_not_charged(store):
    for job_id in submit(store, "a" * 8):
        store.do(queue.cancel, job_id)
    submit(store, "bbb")
    names(store, 1)
    submit(store, "aa")
    assert names(store, 4) == "baba"


def test_a_job_that_is_handed_back_keeps_its_turn(store):
    first, second, *_ = submit(store, "aab")
    claim = store.claim()
    submit(store, "bb")
    store.do(queue.release, claim)
    assert store.claim().job_id == first
    store.expire_lease(first)
    claim = store.claim()
    assert claim.job_id == first
    store.do(queue.retry, claim, error={}, delay_seconds=0)
    assert store.claim().job_id == first
    assert store.claim().spec["of"] == "b"
    assert store.claim().job_id == second


@pytest.mark.parametrize("depths", [(1, 1, 9), (1, 1), (9, 1), (3, 1, 5, 1)])
@pytest.mark.parametrize("workers", [1, 3])
def test_no_key_gets_ahead_of_another_that_always_waits(store, depths, workers):
    """Each keeps so many waiting; over any stretch of claims two keys differ by at most 2."""
    chance = random.Random(repr((depths, workers)))
    waiting = {str(number): deque() for number in range(len(depths))}
    running, claimed = [], []

    def refill():
        keys = [
            key for key, depth in zip(waiting, depths, strict=True) if len(waiting[key]) < depth
        ]
        chance.shuffle(keys)
        for key in keys:
            waiting[key] += submit(store, [key] * (depths[int(key)] - len(waiting[key])))

    for _ in range(40):
        refill()
        claim = store.claim()
        key = claim.spec["of"]
        assert waiting[key].popleft() == claim.job_id
        claimed.append(key)
        running.append(claim)
        if len(running) == workers:  # any of them ends
            ended = running.pop(chance.randrange(workers))
            store.do(queue.fail, ended, error={})
    for first in range(len(claimed)):
        counted = Counter(dict.fromkeys(waiting, 0))
        for key in claimed[first:]:
            counted[key] += 1
            assert max(counted.values()) - min(counted.values()) <= 2


# --- how many run -------------------------------------------------------------------------------


def test_a_key_at_its_cap_is_passed_over(store):
    submit(store, "aaa", max_running=1)
    submit(store, "b")
    first = store.claim()
    assert first.spec["of"] == "a"
    assert store.claim().spec["of"] == "b"
    assert store.claim() is None
    store.do(queue.cancel, first.job_id)
    assert store.claim() is None  # it is still with its worker
    store.do(queue.confirm_cancelled, first)
    assert store.claim().spec["of"] == "a"


def test_jobs_without_a_key_have_one_cap_together(store):
    submit(store, "--", max_running=1)
    submit(store, "a", max_running=1)
    first = store.claim()
    assert (first.spec["of"], store.claim().spec["of"], store.claim()) == ("-", "a", None)
    store.do(queue.fail, first, error={})
    assert store.claim().spec["of"] == "-"


def test_a_cap_does_not_keep_a_job_from_being_rescued(store):
    [job_id, _] = submit(store, "aa", max_running=1)
    store.claim()
    store.expire_lease(job_id)
    assert (store.claim().job_id, store.claim()) == (job_id, None)


def test_nor_does_a_cap_that_was_raised_in_between(store):
    [job_id] = submit(store, "a", max_running=1)
    submit(store, "aa", max_running=3)
    assert [store.claim().attempt for _ in range(3)] == [1, 1, 1]
    store.expire_lease(job_id)
    assert store.claim().job_id == job_id


def test_jobs_without_a_cap_are_free(store):
    submit(store, "a", max_running=1)
    submit(store, "aa")
    assert [store.claim().spec["of"] for _ in range(3)] == ["a", "a", "a"]


def test_workers_that_claim_at_once_keep_to_the_cap(store):
    for _ in range(5):
        submit(store, "a" * 8, max_running=2)

        def claim(_):
            return store.claim()

        claims = [claim for claim in together(6, claim) if claim is not None]
        assert len(claims) == 2
        for claim in claims:
            store.do(queue.fail, claim, error={})
