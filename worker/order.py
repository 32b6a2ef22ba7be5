"""One job as its process is told of it: trained here, with everything that happens sent out."""

import json
import logging
import resource
from datetime import UTC, datetime
from typing import Any, TextIO

from pydantic import ValidationError

from lrtuner import logs
from lrtuner.errors import JobFailedError, LRTunerError
from lrtuner.evidence import Progress, TrialRecord
from lrtuner.job import JobSpec
from lrtuner.lifecycle import Stage
from worker.device import prepare
from worker.journal import History, storable
from worker.pipeline import Pipeline
from worker.rules import Rules
from worker.runners.chosen import ROOM, RUNNERS
from worker.runners.errors import ClusterError

log = logging.getLogger("lrtuner.worker")

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


def carry_out(order: dict[str, Any], out: TextIO) -> None:
    """Train the job, and say how it ended, as JSON lines."""
    logs.configure(**order["log"])
    _limit_memory(order["memory_limit_mb"])
    with logs.about(job_id=order["job_id"], attempt=order["attempt"]):
        _tell(order, PipeJournal(out))


def _tell(order: dict[str, Any], journal: PipeJournal) -> None:
    """Train, and say how it ended."""
    try:
        journal.send("finished", recommendation=_train(order, journal))
    except ClusterError as error:
        journal.send("unavailable", error={"code": error.code, "message": storable(str(error))})
    except JobFailedError as error:
        journal.send("failed", error={"code": error.code, "message": storable(str(error))})
    except (LRTunerError, ValidationError) as error:
        journal.send("failed", error={"code": "invalid_input", "message": storable(str(error))})
    except Exception as error:
        log.exception("broke off")
        message = storable(f"{type(error).__name__}: {error}")
        journal.send("failed", error={"code": "internal_error", "message": message})


def _train(order: dict[str, Any], journal: PipeJournal) -> str:
    room, start = ROOM[order["runner"]], RUNNERS[order["runner"]]
    device, slots = room(order["device"], order["slots"], order["workers"])
    prepare(device)
    history = History(
        stages=order["stages"],
        trials=tuple(TrialRecord.model_validate_json(json.dumps(t)) for t in order["trials"]),
        elapsed_seconds=order["elapsed_seconds"],
    )
    spec = JobSpec.model_validate_json(json.dumps(order["spec"]))
    rules = Rules.model_validate_json(json.dumps(order["rules"]))
    with start(rules, spec, device, slots) as runner:
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


def _limit_memory(megabytes: int | None) -> None:
    if megabytes is not None:
        limit = megabytes * _MEBIBYTE
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
