"""Faults at random: which, when, to whom; in an order that the seed decides."""

import contextlib
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx

from benchmarks.faults import findings
from benchmarks.faults.jobs import JOBS
from benchmarks.faults.nodes import Nodes
from benchmarks.faults.processes import GOOD_ENDS, Fleet, Process, Stopped, is_running, waited
from lrtuner.store.engine import Database

# Of ten faults so many are of each kind. They come in a random order.
_COMMON = {
    "kill worker": 3,
    "end worker": 1,
    "kill training": 1,
    "stop training": 1,
    "kill slot": 1,
    "kill API": 1,
}
DECK = _COMMON | {"stop worker": 2}
DECK_OF_NODES = _COMMON | {"stop worker": 1, "kill node": 1}

SECONDS_TO_VANISH = 60.0
_SECONDS_TO_FIND_ONE = 300.0
_STOPPED_FOR = (1.3, 30.0)  # leases: at least, and at most if nobody takes the job over
_PAUSED_FOR = (0.2, 1.5)  # leases, for what trains: its worker goes on


class Submitter:
    """Submits the jobs over HTTP, one name after the other, and keeps what was answered."""

    def __init__(self, fleet: Fleet, names: Iterable[str]) -> None:
        self._fleet, self._names = fleet, list(names)
        self.accepted: list[str] = []
        self.cut_off = 0

    def submit(self) -> None:
        """One job; that no answer came is noted, too."""
        self._names.append(name := self._names.pop(0))
        try:
            answer = httpx.post(
                f"{self._fleet.address}/v1/jobs",
                params={"cache": "false"},
                json=JOBS[name],
                timeout=60,
            )
        except httpx.TransportError:
            self.cut_off += 1
            return
        answer.raise_for_status()
        self.accepted.append(answer.json()["id"])


class Injector:
    """Makes one fault after the other, and starts again what it killed."""

    def __init__(
        self,
        fleet: Fleet,
        database: Database,
        submitter: Submitter,
        lease: float,
        seed: int,
        nodes: Nodes | None = None,
    ) -> None:
        self.nodes = nodes
        self.fleet, self.database, self.submitter = fleet, database, submitter
        self.lease, self.random = lease, random.Random(seed)
        self.done: Counter[str] = Counter()
        self.lost: list[tuple[str, int, float]] = []  # (job, attempt, when its worker was lost)
        self.left_behind: set[tuple[int, str]] = set()  # of killed workers
        self.bad_ends: list[int] = []
        self._deck: list[str] = []
        self._paused: list[tuple[int, float]] = []  # (what trains and stands still, until when)
        self._hit: set[tuple[str, int]] = set()  # attempts in which something that trains was hit
        self._faults: dict[str, Callable[[], bool]] = {
            "kill worker": self._kill_worker,
            "stop worker": self._stop_worker,
            "end worker": self._end_worker,
            "kill training": self._kill_training,
            "stop training": self._stop_training,
            "kill slot": self._kill_slot,
            "kill node": self._kill_node,
            "kill API": self._kill_api,
        }

    def keep_busy(self) -> None:
        """Submit jobs until there is one for each worker, and one that waits."""
        while findings.unfinished(self.database) <= len(self.fleet.workers):
            self.fleet.wait_for_api()
            self.submitter.submit()

    def inject(self) -> str:
        """The next fault; its kind."""
        if not self._deck:
            self._deck = list(Counter(DECK_OF_NODES if self.nodes else DECK).elements())
            self.random.shuffle(self._deck)
        kind = self._deck.pop()
        self.inject_one(kind)
        return kind

    def inject_one(self, kind: str) -> None:
        """A fault of this kind, once there is somebody whom it can happen to."""
        deadline = time.monotonic() + _SECONDS_TO_FIND_ONE
        while not self._faults[kind]():
            self.keep_busy()
            self.attend()
            if time.monotonic() > deadline:
                raise RuntimeError(f"found nobody to {kind} for {_SECONDS_TO_FIND_ONE:g} s")
            time.sleep(0.05)
        self.done[kind] += 1

    def attend(self) -> None:
        """Wake those whose time has come, and replace those that have ended."""
        now = time.monotonic()
        self._go_on(now)
        for worker in list(self.fleet.workers):
            if worker.stopped and self._may_wake(worker.stopped, now):
                _wake(worker)
            status = worker.popen.poll()
            if status is not None:
                if status not in GOOD_ENDS or not worker.ending:
                    self.bad_ends.append(status)
                self._replace(worker)

    def wake_all(self) -> None:
        """Nobody stands still any longer."""
        self._go_on(math.inf)
        for worker in self.fleet.workers:
            if worker.stopped:
                _wake(worker)

    def orphans(self) -> set[tuple[int, str]]:
        """What killed workers had started and what still runs after a while."""
        return waited(lambda: set(filter(is_running, self.left_behind)), SECONDS_TO_VANISH)

    def _busy(self) -> tuple[Process, tuple[str, int]] | None:
        """A worker that holds a job and can be disturbed, with the job and the attempt."""
        holding = findings.held(self.database)
        found = [w for w in self.fleet.workers if self._is_free(w) and w.owner in holding]
        if not found:
            return None
        worker = self.random.choice(found)
        return worker, holding[str(worker.owner)]

    @staticmethod
    def _is_free(worker: Process) -> bool:
        return not worker.ending and worker.stopped is None

    def _may_wake(self, stopped: Stopped, now: float) -> bool:
        """Not before another worker has the job: else the fence would have nothing to refuse."""
        if not stopped.at_least_until < now < stopped.at_most_until:
            return now >= stopped.at_most_until
        return findings.attempt(self.database, stopped.job_id) > stopped.attempt

    def _kill_worker(self) -> bool:
        if (found := self._busy()) is None:
            return False
        worker, job = found
        self.left_behind |= worker.descendants()
        worker.kill()
        self.lost.append((*job, time.time()))
        self._replace(worker)
        return True

    def _stop_worker(self) -> bool:
        awake = [worker for worker in self.fleet.workers if self._is_free(worker)]
        if len(awake) < 2 or (found := self._busy()) is None:  # somebody has to take over
            return False
        worker, job = found
        worker.popen.send_signal(signal.SIGSTOP)
        least, most = (time.monotonic() + self.lease * leases for leases in _STOPPED_FOR)
        worker.stopped = Stopped(*job, least, most)
        self.lost.append((*job, time.time()))
        return True

    def _end_worker(self) -> bool:
        if (found := self._busy()) is None:
            return False
        found[0].ending = True
        found[0].popen.terminate()
        return True

    def _kill_training(self) -> bool:
        found = self._in_training(Process.training)
        return found is not None and _sent(found, signal.SIGKILL)

    def _kill_slot(self) -> bool:
        if self.nodes is None:
            found = self._in_training(Process.slots)
            return found is not None and _sent(found, signal.SIGKILL)
        pids = sorted(self.nodes.training())
        return bool(pids) and _sent(self.random.choice(pids), signal.SIGKILL)

    def _kill_node(self) -> bool:
        if self.nodes is None:
            return False
        self.nodes.kill_one(self.random)
        return True

    def _stop_training(self) -> bool:
        """The process of a job stands still, and what it has started goes on."""
        found = self._in_training(Process.training)
        if found is None or not _sent(found, signal.SIGSTOP):
            return False
        seconds = self.lease * self.random.uniform(*_PAUSED_FOR)
        self._paused.append((found, time.monotonic() + seconds))
        return True

    def _go_on(self, now: float) -> None:
        due = [pid for pid, until in self._paused if until <= now]
        self._paused = [(pid, until) for pid, until in self._paused if until > now]
        for pid in due:
            _sent(pid, signal.SIGCONT)

    def _in_training(self, trains: Callable[[Process], list[int]]) -> int | None:
        """One of the processes that train for a worker.

        Once in an attempt: what dies twice in the same run is taken for that run's fault.
        """
        holding = findings.held(self.database)
        found = [
            (holding[str(w.owner)], pids)
            for w in self.fleet.workers
            if self._is_free(w) and w.owner in holding and (pids := trains(w))
        ]
        found = [(job, pids) for job, pids in found if job not in self._hit]
        if not found:
            return None
        job, pids = self.random.choice(found)
        self._hit.add(job)
        return self.random.choice(pids)

    def _kill_api(self) -> bool:
        """While two jobs are being submitted."""
        self.fleet.wait_for_api()
        with ThreadPoolExecutor(2) as pool:
            sent = [pool.submit(self.submitter.submit) for _ in range(2)]
            time.sleep(self.random.uniform(0.0, 0.1))
            self.fleet.api.kill()
            for submitted in sent:
                submitted.result()
        self.fleet.start_api()
        return True

    def _replace(self, worker: Process) -> None:
        worker.close()
        self.fleet.workers.remove(worker)
        self.fleet.start_worker(worker.num_slots)


def _wake(worker: Process) -> None:
    worker.popen.send_signal(signal.SIGCONT)
    worker.stopped = None


def _sent(pid: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
