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
from collections.abc import Callable
from functools import partial
from typing import Any

from lrtuner import logs
from lrtuner.errors import DatabaseDownError, LeaseLostError
from lrtuner.lifecycle import JobStatus, Stage, TrialState
from lrtuner.store import Claim, Database, queue, reading
from worker.journal import storable
from worker.monitoring import Meters
from worker.process import Child, described
from worker.rules import rules_of
from worker.settings import Settings

log = logging.getLogger("lrtuner.worker")

MAX_CRASHES = 3
"""So often may the process of one job die in one attempt before the job is failed."""

Verb = Callable[[Any, Claim], None]
"""What a worker does to its job: given a connection and the claim."""

_RETRY_SECONDS = 0.5
_REAP_SECONDS = 5.0
_PAUSE_SECONDS = 10.0
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
        self._reaped = -math.inf
        self.owner = f"worker-{uuid.uuid4()}"  # fresh for every process: never mistaken for another

    def run(self) -> None:
        """Work until told to stop."""
        log.info("%s waits for jobs in %s", self.owner, self.database)
        while not self.stop.is_set():
            if not self.work_once():
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
        """Leave the job to another attempt, after a pause."""
        try:
            self._write(partial(queue.retry, error=error, delay_seconds=_PAUSE_SECONDS))
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
        if trial:
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

    def _order(self) -> dict[str, Any]:
        """What the child must know: the job, what is done already, and where to train."""
        with self.database.reading() as connection:
            stages = reading.list_stages(connection, self.claim.job_id)
            trials: list[dict[str, Any]] = []
            last = -1
            while page := reading.list_trials(
                connection, self.claim.job_id, after=last, limit=_PAGE
            ):
                trials += [row.document for row in page if row.state.is_finished]
                last = page[-1].number
        return {
            "job_id": self.claim.job_id,
            "spec": self.claim.spec,
            "stages": stages,
            "trials": trials,
            "elapsed_seconds": self.claim.elapsed_seconds + time.monotonic() - self.began,
            "device": self.settings.device,
            "slots": None if self.settings.slots == "auto" else self.settings.slots,
            "workers": self.settings.workers,
            "runner": self.settings.runner,
            "log": {"level": self.settings.log_level, "style": self.settings.log_format},
            "public_url": self.settings.public_url,
            "memory_limit_mb": self.settings.memory_limit_mb,
            "rules": rules_of(self.settings).model_dump(mode="json"),
        }

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
        return status

    def _write(self, *verbs: Verb) -> None:
        """Verbs in one transaction; tried again while the database is away and the lease lasts.

        Raises:
            LeaseLostError: the job is no longer ours, or the database was away for too long.
        """
        while True:
            try:
                with self.database.writing() as connection:
                    for verb in verbs:
                        verb(connection, self.claim)
            except DatabaseDownError:
                if time.monotonic() - self.renewed > self.settings.lease_seconds:
                    raise LeaseLostError from None
                self.worker.stop.wait(_RETRY_SECONDS)
            else:
                self.renewed = time.monotonic()
                return


def _told(trial: dict[str, Any]) -> str:
    """A finished trial in one line."""
    schedule = trial["schedule"]
    what = f"run {trial['number']} ({trial['purpose']}): {schedule['body']['family']}"
    what += f", peak {schedule['peak_lr']:.4g}"
    if trial["value"] is not None:
        return f"{what}: {trial['value']:.5g}"
    reason = f": {trial['error']['message']}" if trial["error"] else ""
    return f"{what} {trial['state']}{reason}"
