"""Claim a job, supervise the process that trains it, and write down what it says.

The supervisor never trains, so its heartbeat is never late. It writes through the fence: once its
lease is lost nothing it says is stored, and it drops the job.
"""

import logging
import math
import queue as queues
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from lrtuner import logs
from lrtuner.errors import ConflictError, DatabaseDownError, LeaseLostError
from lrtuner.lifecycle import JobStatus, Stage, TrialState
from lrtuner.store import Claim, Database, queue, reading
from worker.journal import storable
from worker.monitoring import Meters
from worker.process import Child, described, runner_problem
from worker.rules import rules_of
from worker.settings import DEFAULT_PUBLIC_URL, Settings

log = logging.getLogger("lrtuner.worker")

MAX_CRASHES = 5
"""So often may the process of one job die in one attempt before the job is failed."""

MAX_DEATHS = 2
"""So often may it die in one run before that run is failed: once may have been chance."""

Verb = Callable[[Any, Claim], None]
"""What a worker does to its job: given a connection and the claim."""

Answer = TypeVar("Answer")

_RETRY_SECONDS = 0.5
_REAP_SECONDS = 5.0
_PAUSE_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 600.0
_PAGE = 500


class Worker:
    """One worker: one job at a time, until `stop` is set."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        stop: threading.Event,
        start_child: Callable[[dict[str, Any]], Child] = Child,
    ) -> None:
        self.database, self.settings, self.stop = database, settings, stop
        self.start_child = start_child
        self.meters = Meters()
        self.runner_lost = False  # whether the machines that train were last found not to be there
        self._reaped = -math.inf
        self.owner = f"worker-{uuid.uuid4()}"  # fresh for every process: never mistaken for another

    def run(self) -> None:
        """Work until told to stop."""
        log.info("%s waits for jobs in %s", self.owner, self.database)
        while not self.stop.is_set():
            if self.runner_lost:
                self._find_runner()
            elif not self.work_once():
                # jitter, so that many idle workers do not ask in step
                self.stop.wait(self.settings.poll_seconds * random.uniform(0.5, 1.5))
        log.info("%s stops", self.owner)

    def reap(self) -> None:
        """End the jobs that no worker will end; at most every so often, also during a job."""
        if time.monotonic() - self._reaped < _REAP_SECONDS:
            return
        self._reaped = time.monotonic()
        try:
            with self.database.writing() as connection:
                queue.reap(connection)
        except DatabaseDownError as error:
            log.warning("the database does not answer: %s", error)

    def _find_runner(self) -> None:
        """See whether jobs can be trained again; until then none is claimed."""
        problem = runner_problem()
        if problem:
            log.warning("no job is claimed: %s", problem)
            self.stop.wait(_PAUSE_SECONDS)
        self.runner_lost = bool(problem)

    def work_once(self) -> bool:
        """Claim a job if there is one and see it through; False if there was none."""
        try:
            with self.database.writing() as connection:
                queue.reap(connection)
                claim = queue.claim(
                    connection, owner=self.owner, lease_seconds=self.settings.lease_seconds
                )
        except DatabaseDownError as error:
            log.warning("the database does not answer: %s", error)
            return False
        self.meters.database_seconds.set_to_current_time()
        if claim is None:
            return False
        self.meters.lease_expiries.inc(int(claim.rescued))
        with (
            logs.about(job_id=claim.job_id, attempt=claim.attempt),
            self.meters.busy.track_inprogress(),
        ):
            log.info("begins")
            outcome = self._attempt(claim)
            log.info("%s", outcome)
        self.meters.attempts.labels(outcome.partition(":")[0]).inc()
        return True

    def _attempt(self, claim: Claim) -> str:
        supervisor = Supervisor(self, claim)
        try:
            return supervisor.run()
        except Exception as error:  # a fault of ours must not take the worker along
            log.exception("broke off")
            told = {
                "code": "internal_error",
                "message": storable(f"{type(error).__name__}: {error}"),
            }
            return supervisor.hand_on(told)


class Supervisor:
    """One attempt at one job."""

    def __init__(self, worker: Worker, claim: Claim) -> None:
        self.worker, self.claim = worker, claim
        self.database, self.settings = worker.database, worker.settings
        self.began = self.renewed = self.beat = time.monotonic()
        self.crashes = 0
        self.contained = False  # whether runs are trained elsewhere than in the job's process
        self.in_flight: dict[int, dict[str, Any]] = {}  # trials that have begun, by number
        self.deaths = Counter[int]()  # of the process, by the number of the trial it died in

    def run(self) -> str:
        """See the job through to its end or ours; what became of it, in a word."""
        try:
            while True:
                child = self.worker.start_child(self._order())
                try:
                    outcome = self._follow(child)
                finally:
                    status = child.end()
                if outcome:
                    return outcome
                if self._crashed(status):
                    return "failed"
        except LeaseLostError:
            return self._let_go()

    def hand_on(self, error: dict[str, Any]) -> str:
        """Leave the job to another attempt, after a pause that doubles with each."""
        try:
            self._write(partial(queue.retry, error=error, delay_seconds=pause(self.claim.attempt)))
        except LeaseLostError:
            return self._let_go()
        return "handed on"

    def _let_go(self) -> str:
        """A write was refused: because the job is being cancelled, or because it is not ours."""
        try:
            if self._heartbeat() is JobStatus.CANCELLING:
                self._write(queue.confirm_cancelled)
                return "cancelled"
        except LeaseLostError:
            pass
        return "lease lost, dropped"

    def _follow(self, child: Child) -> str | None:
        """Handle messages and heartbeats until the job ends; None when the child just died."""
        while True:
            if self.worker.stop.is_set():
                child.end()
                self._write(queue.release)
                return "handed back"
            if time.monotonic() - self.beat >= self.settings.heartbeat_seconds:
                self.beat = time.monotonic()
                if self._heartbeat() is JobStatus.CANCELLING:
                    child.end()
                    self._write(queue.confirm_cancelled)
                    return "cancelled"
            try:
                message = child.next_message(timeout=self.settings.heartbeat_seconds / 2)
            except queues.Empty:
                continue
            if message is None:
                return None
            ended = self._handle(message)
            if ended:
                return ended

    def _handle(self, message: dict[str, Any]) -> str | None:
        """Store one message; how the job ended, if it did."""
        match message["type"]:
            case "finished":
                self._write(partial(queue.succeed, recommendation=message["recommendation"]))
                return "succeeded"
            case "failed":
                self._write(partial(queue.fail, error=message["error"]))
                return f"failed: {message['error']['message']}"
            case "unavailable":
                told = message["error"]["message"]
                self._write(partial(queue.release, message=f"Handed back: {told}"))
                self.worker.runner_lost = True
                return f"handed back: {told}"
            case "event":
                content = {k: message[k] for k in ("kind", "phase", "message", "data")}
                self._write(partial(queue.add_event, **content))
            case "contained":
                self.contained = True
            case "stage_finished":
                stage, result = Stage(message["stage"]), message["result"]
                self._write(partial(queue.finish_stage, stage=stage, result=result))
            case "trial_started":
                trial = message["trial"]
                self.in_flight[trial["number"]] = trial
                number, phase = trial["number"], trial["phase"]
                self._write(partial(queue.start_trial, number=number, phase=phase, document=trial))
            case "trial_finished":
                progress = partial(queue.set_progress, progress=message["progress"])
                self._finish_trial(message["trial"], progress)
        return None

    def _finish_trial(self, trial: dict[str, Any], *also: Verb) -> None:
        self.in_flight.pop(trial["number"], None)
        self.worker.meters.trials.labels(trial["state"]).inc()
        if trial["seconds"] is not None:
            self.worker.meters.trial_seconds.observe(trial["seconds"])
        finish = partial(
            queue.finish_trial,
            number=trial["number"],
            state=TrialState(trial["state"]),
            value=trial["value"],
            cost=trial["cost"],
            document=trial,
        )
        tell = partial(
            queue.add_event,
            kind="trial.finished",
            phase=trial["phase"],
            message=_told(trial),
            data={k: trial[k] for k in ("number", "purpose", "arm", "state", "value", "cost")},
        )
        self._write(finish, tell, *also)

    def _crashed(self, status: int) -> bool:
        """Record that the child died; True when the job is given up."""
        self.crashes += 1
        reason = described(status)
        log.warning("%s", reason)
        # of runs that train together the first is taken to be at fault; the others begin again
        trial = None if self.contained else next(iter(self.in_flight.values()), None)
        self.in_flight.clear()
        if trial and self._is_lethal(trial):
            error = {"code": "process_died", "message": reason}
            self._finish_trial({**trial, "state": TrialState.FAILED, "error": error})
        if self.crashes < MAX_CRASHES:
            tell = partial(
                queue.add_event,
                kind="process.restarted",
                phase=trial["phase"] if trial else None,
                message=f"{reason}; a new one goes on from the last finished run",
                data={"status": status},
            )
            self._write(tell)
            return False
        message = f"{reason}, {self.crashes} times in this attempt"
        self._write(partial(queue.fail, error={"code": "process_died", "message": message}))
        return True

    def _is_lethal(self, trial: dict[str, Any]) -> bool:
        self.deaths[trial["number"]] += 1
        return self.deaths[trial["number"]] >= MAX_DEATHS

    def _order(self) -> dict[str, Any]:
        """What the child must know: the job, what is done already, and where to train."""
        stages, trials = self._answered(self._history)
        return {
            "job_id": self.claim.job_id,
            "attempt": self.claim.attempt,
            "spec": self.claim.spec,
            "stages": stages,
            "trials": trials,
            "elapsed_seconds": self.claim.elapsed_seconds + time.monotonic() - self.began,
            "device": self.settings.device,
            "slots": None if self.settings.slots == "auto" else self.settings.slots,
            "workers": self.settings.workers,
            "runner": self.settings.runner,
            "log": {"level": self.settings.log_level, "style": self.settings.log_format},
            "public_url": self.settings.public_url or DEFAULT_PUBLIC_URL,
            "memory_limit_mb": self.settings.memory_limit_mb,
            "rules": rules_of(self.settings).model_dump(mode="json"),
        }

    def _history(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The stages and trials that this and earlier attempts have finished."""
        trials: list[dict[str, Any]] = []
        last = -1
        with self.database.reading() as connection:
            stages = reading.list_stages(connection, self.claim.job_id)
            while page := reading.list_trials(
                connection, self.claim.job_id, after=last, limit=_PAGE
            ):
                trials += [row.document for row in page if row.state.is_finished]
                last = page[-1].number
        return stages, trials

    def _heartbeat(self) -> JobStatus:
        self.worker.reap()
        lease = self.settings.lease_seconds
        try:
            with self.database.writing() as connection:
                status = queue.heartbeat(connection, self.claim, lease_seconds=lease)
        except DatabaseDownError:
            if time.monotonic() - self.renewed > lease:
                raise LeaseLostError from None
            return JobStatus.RUNNING
        self.renewed = time.monotonic()
        self.worker.meters.database_seconds.set_to_current_time()
        return status

    def _write(self, *verbs: Verb) -> None:
        """Verbs in one transaction; tried again while the database is away and the lease lasts.

        Raises:
            LeaseLostError: the job is no longer ours, or the database was away for too long.
        """
        away = False

        def write() -> None:
            nonlocal away
            try:
                with self.database.writing() as connection:
                    for verb in verbs:
                        verb(connection, self.claim)
            except DatabaseDownError:
                away = True
                raise
            except ConflictError:
                # The database went away during the commit, which did go through: under our lease
                # nobody else can have written the same.
                if not away:
                    raise

        self._answered(write)
        self.renewed = time.monotonic()

    def _answered(self, ask: Callable[[], Answer]) -> Answer:
        """What the database answers, once it does; for as long as our lease lasts."""
        while True:
            try:
                return ask()
            except DatabaseDownError as error:
                log.warning("%s", error)
                if time.monotonic() - self.renewed > self.settings.lease_seconds:
                    raise LeaseLostError from None
                time.sleep(_RETRY_SECONDS)  # also while we are told to stop


def pause(attempt: int) -> float:
    """Seconds until the attempt after this one: 10, 20, 40, ... and at most 600."""
    return float(min(_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 10), _LONGEST_PAUSE_SECONDS))


def _told(trial: dict[str, Any]) -> str:
    """A finished trial in one line."""
    schedule = trial["schedule"]
    what = f"run {trial['number']} ({trial['purpose']}): {schedule['body']['family']}"
    what += f", peak {schedule['peak_lr']:.4g}"
    if trial["value"] is not None:
        return f"{what}: {trial['value']:.5g}"
    reason = f": {trial['error']['message']}" if trial["error"] else ""
    return f"{what} {trial['state']}{reason}"
