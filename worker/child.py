"""The process that trains one job: the job comes in on stdin, what happens goes out in JSON lines.

It has no database. It ends when its stdin does, so that it never outlives its supervisor.
"""

import json
import os
import resource
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from pydantic import ValidationError

from lrtuner import logs
from lrtuner.errors import JobFailedError, LRTunerError
from lrtuner.evidence import Progress, TrialRecord
from lrtuner.job import JobSpec
from lrtuner.lifecycle import Stage
from worker.device import choose_device, prepare
from worker.journal import History, storable
from worker.pipeline import Pipeline
from worker.rules import Rules
from worker.runners.chosen import RUNNERS
from worker.runners.machine import slots_for

ORPHANED = 3
_MEBIBYTE = 1024 * 1024


class PipeJournal:
    """Writes every message as one JSON line, flushed at once."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def event(self, kind: str, message: str, phase: Stage, data: dict[str, Any]) -> None:
        """See `Journal`."""
        self.send("event", kind=kind, message=message, phase=phase, data=data)

    def trial_started(self, trial: TrialRecord) -> None:
        """See `Journal`."""
        self.send("trial_started", trial=trial.model_dump(mode="json"))

    def trial_finished(self, trial: TrialRecord, progress: Progress) -> None:
        """See `Journal`."""
        self.send(
            "trial_finished",
            trial=trial.model_dump(mode="json"),
            progress=progress.model_dump(mode="json"),
        )

    def stage_finished(self, stage: Stage, result: dict[str, Any]) -> None:
        """See `Journal`."""
        self.send("stage_finished", stage=stage, result=result)

    def send(self, message: str, /, **content: Any) -> None:
        """One message of that type."""
        self._out.write(json.dumps({"type": message, **content}, allow_nan=False) + "\n")
        self._out.flush()


def main() -> int:
    """Train the job on stdin; 0 when it ended as a job may end, also as a failed one."""
    out = _private_stdout()
    order = json.loads(sys.stdin.readline())
    logs.configure(**order["log"])
    threading.Thread(target=_exit_at_eof, daemon=True).start()
    _limit_memory(order["memory_limit_mb"])
    journal = PipeJournal(out)
    try:
        journal.send("finished", recommendation=_train(order, journal))
    except JobFailedError as error:
        journal.send("failed", error={"code": error.code, "message": storable(str(error))})
    except (LRTunerError, ValidationError) as error:
        journal.send("failed", error={"code": "invalid_input", "message": storable(str(error))})
    except Exception as error:  # noqa: BLE001 - the supervisor must learn of it, whatever it is
        traceback.print_exc()
        message = storable(f"{type(error).__name__}: {error}")
        journal.send("failed", error={"code": "internal_error", "message": message})
    return 0


def _train(order: dict[str, Any], journal: PipeJournal) -> str:
    device = choose_device(order["device"])
    prepare(device)
    history = History(
        stages=order["stages"],
        trials=tuple(TrialRecord.model_validate_json(json.dumps(t)) for t in order["trials"]),
        elapsed_seconds=order["elapsed_seconds"],
    )
    spec = JobSpec.model_validate_json(json.dumps(order["spec"]))
    rules = Rules.model_validate_json(json.dumps(order["rules"]))
    slots = slots_for(order["slots"], device, order["workers"])
    with RUNNERS[order["runner"]](rules, spec, device, slots) as runner:
        if runner:
            journal.send("contained")
        pipeline = Pipeline(
            job_id=order["job_id"],
            spec=spec,
            device=device,
            public_url=order["public_url"],
            journal=journal,
            history=history,
            now=_now,
            runner=runner,
        )
        return pipeline.run().text()


def _private_stdout() -> TextIO:
    """Take stdout for messages alone; what libraries print goes to stderr."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _exit_at_eof() -> None:
    # not sys.stdin: a thread blocked in it aborts the interpreter when it exits
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(ORPHANED)


def _limit_memory(megabytes: int | None) -> None:
    if megabytes is not None:
        limit = megabytes * _MEBIBYTE
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
