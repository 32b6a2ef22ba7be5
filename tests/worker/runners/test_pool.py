"""A pool with trainers that only pretend: when they are started, lost, and done without."""

import threading
from collections import deque
from contextlib import closing
from types import SimpleNamespace

import pytest

from worker.runners.machine import CONTEXT_BYTES, room_on_gpu
from worker.runners.pool import Pool
from worker.runners.runner import Began, Ended, Gave, Work

PATIENCE = 30.0


class Trainer:
    """Works until it is closed, where the work says so."""

    def __init__(self, facts="the task", peak=0, free=0):
        self.facts = facts
        self.closed = threading.Event()
        self.memory = lambda: SimpleNamespace(peak=peak, free=free)

    def close(self):
        self.closed.set()


def quick(value):
    return Work(lambda _trainer: iter([value]))


def meeting(count):
    """Pieces that end only when so many are made at the same time."""
    barrier = threading.Barrier(count, timeout=PATIENCE)

    def on(trainer):
        barrier.wait()
        yield trainer

    return [Work(on) for _ in range(count)]


def pool_of(slots=2, begin=Trainer, **how):
    started = []

    def further():
        started.append(begin())
        return started[-1]

    pool = Pool(Trainer(), further, slots, **how)
    told = []
    pool.tell = told.append
    return pool, started, told


def test_work_that_is_alone_starts_no_further_trainer():
    pool, started, _ = pool_of()
    with closing(pool):
        for _ in range(3):
            assert [type(e) for e in pool.make(deque([quick(1)]))] == [Began, Gave, Ended]
    assert started == []


@pytest.mark.parametrize("slots", [2, 3])
def test_as_many_work_at_a_time_as_there_are_slots(slots):
    pool, started, _ = pool_of(slots)
    with closing(pool):
        for _ in range(2):
            gave = [e.value for e in pool.make(deque(meeting(slots))) if isinstance(e, Gave)]
            assert len(set(gave)) == slots
    assert len(started) == slots - 1, "they live on"
    assert all(trainer.closed.is_set() for trainer in started)


def test_a_trainer_that_cannot_be_started_is_done_without():
    def begin():
        raise MemoryError("no room")

    pool, _, told = pool_of(3, begin)
    with closing(pool):
        while pool.slots > 1:  # they are started while the first one works
            works = deque(quick(n) for n in range(5))
            assert [e.value for e in pool.make(works) if isinstance(e, Gave)] == [*range(5)]
    assert told == [f"one slot less, {left} left: no room" for left in (2, 1)]


def test_a_trainer_of_another_task_is_done_without():
    pool, started, told = pool_of(2, lambda: Trainer("another task"))
    with closing(pool):
        while pool.slots > 1:
            list(pool.make(deque([quick(1), quick(2)])))
    assert "another one" in told[0]
    assert started[0].closed.is_set()


def test_what_work_raises_is_told_and_the_slot_goes_on():
    def broken(_trainer):
        yield 1
        raise ValueError("no")

    pool, _, _ = pool_of(1)
    with closing(pool):
        events = list(pool.make(deque([Work(broken), quick(2)])))
    assert [e.value for e in events if isinstance(e, Gave)] == [1, 2]
    assert [str(e.error) for e in events if isinstance(e, Ended)] == ["no", "None"]


def test_whoever_stops_listening_closes_those_that_work():
    def endless(trainer):
        trainer.closed.wait()
        yield 1

    pool, _, _ = pool_of(1)
    with closing(pool):
        with closing(pool.make(deque([Work(endless), quick(2)]))) as events:
            assert isinstance(next(events), Began)
            threading.Timer(0.05, pool.trainer.close).cancel()
            del events
        pool.trainer.closed.clear()
        assert [e.value for e in pool.make(deque([quick(3)])) if isinstance(e, Gave)] == [3]


GIB = 1 << 30


@pytest.mark.parametrize(
    ("asked", "peak", "free", "most"),
    [
        (4, 2 * GIB, 10 * GIB, 4),
        (4, 2 * GIB, 2 * (2 * GIB + CONTEXT_BYTES), 3),
        (4, 2 * GIB, 2 * (2 * GIB + CONTEXT_BYTES) - 1, 2),
        (4, 20 * GIB, 10 * GIB, 1),
    ],
)
def test_a_gpu_has_room_for_as_many_as_fit_beside_the_first(asked, peak, free, most):
    assert room_on_gpu(asked)(Trainer(peak=peak, free=free)) == most


def test_on_a_gpu_no_further_trainer_is_started_before_the_first_has_worked():
    pool, started, told = pool_of(4, room=lambda _trainer: 2)
    with closing(pool):
        list(pool.make(deque([quick(1)])))
        assert started == []
        assert told == ["2 of 4 slots: there is no memory for more of them"]
        assert len({e.value for e in pool.make(deque(meeting(2))) if isinstance(e, Gave)}) == 2
    assert (len(started), pool.slots) == (1, 2)
