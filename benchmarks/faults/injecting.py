"""Faults at random: which, when, to whom; in an order that the seed decides."""

import contextlib
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
from benchmarks.faults.processes import GOOD_ENDS, Fleet, Process, Stopped, is_running, waited
from lrtuner.store.engine import Database

#: Of ten faults so many are of each kind. They come in a random order.
DECK = {
    "kill worker": 5,
    "stop worker": 2,
    "end worker": 1,
    "kill training": 1,
    "kill API": 1,
}

_SECONDS_TO_VANISH = 60.0
_SECONDS_TO_FIND_ONE = 300.0
_STOPPED_FOR = (1.3, 15.0)  # leases: at least, and at most if nobody takes the job over


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
        self, fleet: Fleet, database: Database, submitter: Submitter, lease: float, seed: int
    ) -> None:
        self.fleet, self.database, self.submitter = fleet, database, submitter
        self.lease, self.random = lease, random.Random(seed)
        self.done: Counter[str] = Counter()
        self.lost: list[tuple[str, int, float]] = []  # (job, attempt, when its worker was lost)
        self.left_behind: set[tuple[int, str]] = set()  # of killed workers
        self.bad_ends: list[int] = []
        self._deck: list[str] = []
        self._faults: dict[str, Callable[[], bool]] = {
            "kill worker": self._kill_worker,
            "stop worker": self._stop_worker,
            "end worker": self._end_worker,
            "kill training": self._kill_training,
            "kill API": self._kill_api,
        }

    def inject(self) -> str:
        """The next fault; its kind."""
        if not self._deck:
            self._deck = list(Counter(DECK).elements())
            self.random.shuffle(self._deck)
        kind = self._deck.pop()
        deadline = time.monotonic() + _SECONDS_TO_FIND_ONE
        while not self._faults[kind]():
            self.attend()
            if time.monotonic() > deadline:
                raise RuntimeError(f"found nobody to {kind} for {_SECONDS_TO_FIND_ONE:g} s")
            time.sleep(0.05)
        self.done[kind] += 1
        return kind

    def attend(self) -> None:
        """Wake those whose time has come, and replace those that have ended."""
        now = time.monotonic()
        for worker in list(self.fleet.workers):
            if worker.stopped and self._may_wake(worker.stopped, now):
                _wake(worker)
            status = worker.popen.poll()
            if status is not None:
                if status not in GOOD_ENDS or not worker.ending:
                    self.bad_ends.append(status)
                self._replace(worker)

    def wake_all(self) -> None:
        """No worker stands still any longer."""
        for worker in self.fleet.workers:
            if worker.stopped:
                _wake(worker)

    def orphans(self) -> set[tuple[int, str]]:
        """What killed workers had started and what still runs after a while."""
        return waited(lambda: set(filter(is_running, self.left_behind)), _SECONDS_TO_VANISH)

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
        # Once per worker: what kills the same run twice is taken for its fault.
        found = self._busy()
        if found is None or found[0].child_killed or not (jobs := found[0].jobs()):
            return False
        found[0].child_killed = _sent(jobs[0], signal.SIGKILL)
        return found[0].child_killed

    def _kill_api(self) -> bool:
        """While two jobs are being submitted."""
        with ThreadPoolExecutor(2) as pool:
            sent = [pool.submit(self.submitter.submit) for _ in range(2)]
            time.sleep(self.random.uniform(0.0, 0.1))
            self.fleet.api.kill()
            for submitted in sent:
                submitted.result()
        self.fleet.restart_api()
        return True

    def _replace(self, worker: Process) -> None:
        worker.close()
        self.fleet.workers.remove(worker)
        self.fleet.start_worker()


def _wake(worker: Process) -> None:
    worker.popen.send_signal(signal.SIGCONT)
    worker.stopped = None


def _sent(pid: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
