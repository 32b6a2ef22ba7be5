"""What a job tells while it runs, and what it already knows when it resumes."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from lrtuner.evidence import Progress, TrialRecord
from lrtuner.lifecycle import Stage


class Journal(Protocol):
    """Where a running job writes. Whatever is written here survives the process."""

    def event(self, kind: str, message: str, phase: Stage, data: dict[str, Any]) -> None:
        """Tell the reader of the event stream something."""

    def trial_started(self, trial: TrialRecord) -> None:
        """A run is about to start; if the process dies now, it is run again."""

    def trial_finished(self, trial: TrialRecord, progress: Progress) -> None:
        """A run is over, whatever its state, and the job is so far."""

    def stage_finished(self, stage: Stage, result: dict[str, Any]) -> None:
        """A stage is over and need not run again."""


@dataclass(frozen=True)
class History:
    """What earlier attempts of a job left: finished stages, finished trials, seconds used."""

    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: tuple[TrialRecord, ...] = ()
    elapsed_seconds: float = 0.0


_LONGEST = 500


def storable(text: str) -> str:
    """The text without what a database refuses, shortened: exceptions hold anything."""
    plain = text.encode("utf-8", errors="replace").decode().replace("\x00", "?")
    return plain[:_LONGEST]
