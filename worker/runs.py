"""The runs of a job: made once, recorded, and never made again."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from typing import Any

from lrtuner.errors import NothingTrainedError
from lrtuner.evidence import Failure, Progress, TrialRecord, rates_digest
from lrtuner.job import JobSpec
from lrtuner.lifecycle import Stage, TrialState
from worker.failure import explained
from worker.journal import Journal
from worker.planner import Request
from worker.runners.runner import Began, Ended, Event, Gave, Runner, Work
from worker.task import Task
from worker.trainer import Trainer, train_together
from worker.training import Run

Training = Callable[[Task | Trainer, Request], Run]
"""Trains one run in its own way."""

HOPELESS = 3
"""So many failed runs (raised, out of memory) without a completed one end the job."""


@dataclass(frozen=True, eq=False)
class _Piece(Work[tuple[int, Run]]):
    """Runs that one trainer makes, as they have in common how they begin.

    `group` is the same for the pieces of one seed, which are begun all or not at all.
    """

    runs: dict[int, Request]
    group: int


@dataclass
class Runs:
    """All runs of a job by their number, which is their place among all that were ever asked for.

    A job that was interrupted asks for the same runs in the same order; those that are recorded
    are not made again. What is recorded does not depend on how many are made at a time, but for the
    seconds that they took. `charged` is what was spent before the first of them.
    """

    spec: JobSpec
    runner: Runner
    journal: Journal
    charged: float
    records: dict[int, TrialRecord]
    next_number: int = field(default=0)
    _wanted: set[int] = field(default_factory=set, init=False)

    def make(
        self,
        requests: Sequence[Request],
        goes_on: Callable[[], bool],
        train: Training | None = None,
    ) -> list[TrialRecord]:
        """Make what was asked for and return the records in that order, up to the first that lacks.

        Runs of one seed share what their schedules have in common at the start; with `train`, each
        is trained by itself. Fewer records than requests mean that `goes_on` said no; it is asked
        for each seed, or each run, and only where something is still to be made.

        Raises:
            NothingTrainedError: runs keep failing and none has ever completed.
        """
        numbered = list(enumerate(requests, start=self.next_number))
        self.next_number += len(numbered)
        pieces = self._alone(numbered, train) if train else self._together(numbered)
        waiting = deque(piece for piece in pieces if self._lacking(piece.runs))
        self._wanted = set(self._lacking(dict(numbered)))
        allowed: dict[int, bool] = {}

        def may_begin(piece: _Piece) -> bool:
            if piece.group not in allowed:
                allowed[piece.group] = goes_on()
            return allowed[piece.group]

        with closing(self.runner.make(waiting, may_begin)) as events:
            for event in events:
                self._take(event, waiting)
        known = takewhile(lambda pair: pair[0] in self.records, numbered)
        return [self.records[number] for number, _ in known]

    @property
    def spent(self) -> float:
        """Full-training equivalents so far, everything charged."""
        # whatever the order in which they ended
        return math.fsum([self.charged, *(record.cost for record in self.records.values())])

    @property
    def all(self) -> list[TrialRecord]:
        """The records in the order of their numbers."""
        return [self.records[number] for number in sorted(self.records)]

    def why_nothing_trained(self) -> str:
        """What became of the runs, where none completed."""
        return _why_nothing_trained(self.all)

    def _lacking(self, runs: Iterable[int]) -> list[int]:
        return [number for number in runs if number not in self.records]

    def _together(self, numbered: Sequence[tuple[int, Request]]) -> Iterator[_Piece]:
        """Runs of one seed that begin with the same rate make a piece.

        Where a part of them is recorded already, all are trained again: only so do the costs that
        they share come out as they would have.
        """
        for _, of_seed in groupby(numbered, key=lambda pair: pair[1].seed):
            group = dict(of_seed)
            norms = any(request.norms for request in group.values())
            alike: dict[float, dict[int, Request]] = {}
            for number, request in group.items():
                first = float(request.schedule.values()[0])
                alike.setdefault(first, {})[number] = request
            for runs in alike.values():
                yield self._piece(runs, min(group), norms=norms)

    def _piece(self, runs: dict[int, Request], group: int, *, norms: bool) -> _Piece:
        crashed = {n for n, r in self.records.items() if r.state is TrialState.FAILED}
        together = {n: r for n, r in runs.items() if n not in crashed}
        return _Piece(lambda trainer: self._trained(trainer, together, norms), together, group)

    def _alone(self, numbered: Sequence[tuple[int, Request]], train: Training) -> Iterator[_Piece]:
        for number, request in numbered:
            yield _Piece(
                lambda trainer, n=number, r=request: iter([(n, train(trainer, r))]),  # type: ignore[misc]
                {number: request},
                number,
            )

    def _trained(
        self, trainer: Task | Trainer, runs: dict[int, Request], norms: bool
    ) -> Iterator[tuple[int, Run]]:
        numbers, requests = list(runs), list(runs.values())
        together = train_together(
            trainer,
            [request.schedule.values() for request in requests],
            requests[0].seed,
            test=requests[0].phase is Stage.CONFIRM,
            norms=norms,
            target=self.spec.objective.target,
        )
        for position, run in together:
            yield numbers[position], run

    def _take(self, event: Event, waiting: deque[_Piece]) -> None:
        """Write down what happened to a piece."""
        piece: _Piece = event.work
        match event:
            case Began():
                for number in self._lacking(piece.runs):
                    self.journal.trial_started(self._begun(number, piece.runs[number]))
            case Gave(value=(number, run)) if number not in self.records:
                self._finish(number, piece.runs[number], self._outcome(run))
            case Ended(error=error) if error:
                self._failed(piece, error, waiting)

    def _failed(self, piece: _Piece, error: Exception, waiting: deque[_Piece]) -> None:
        """A run that raises takes none of the others with it: each that lacks is made alone."""
        lacking = self._lacking(piece.runs)
        if len(piece.runs) == 1:
            [(number, request)] = piece.runs.items()
            self._finish(number, request, {"state": TrialState.FAILED, "error": explained(error)})
            return
        norms = any(request.norms for request in piece.runs.values())
        alone = [self._piece({n: piece.runs[n]}, piece.group, norms=norms) for n in lacking]
        waiting.extendleft(reversed(alone))

    def _begun(self, number: int, request: Request) -> TrialRecord:
        return TrialRecord(
            number=number,
            phase=request.phase,
            purpose=request.purpose,
            origin=request.origin,
            shape=request.shape,
            arm=request.arm,
            params=request.params,
            schedule=request.schedule,
            seed=request.seed,
        )

    def _outcome(self, run: Run) -> dict[str, Any]:
        complete = run.state is TrialState.COMPLETE
        objective = self.spec.objective
        return {
            "state": run.state,
            "value": objective.value(run.metrics, run.updates) if complete else None,
            "metrics": run.metrics,
            "curve": run.curve,
            "gradient_norms": run.gradient_norms,
            "updates": run.updates,
            "rates_digest": rates_digest(run.rates),
            "cost": run.cost,
            "alone": run.alone,
            "seconds": run.seconds,
            "error": Failure(code="diverged", message=run.reason) if run.reason else None,
        }

    def _finish(self, number: int, request: Request, outcome: dict[str, Any]) -> TrialRecord:
        record = self._begun(number, request).model_copy(update=outcome)
        self.records[number] = record
        self.journal.trial_finished(record, self._progress(record.phase))
        self._give_up_if_hopeless()
        return record

    def _give_up_if_hopeless(self) -> None:
        """Looks at them in the order of their numbers, whatever the order in which they end."""
        seen = list[TrialRecord]()
        for number in sorted(self.records.keys() | self._wanted):
            record = self.records.get(number)
            if record is None or record.state is TrialState.COMPLETE:
                return
            seen.append(record)
            if [r.state for r in seen].count(TrialState.FAILED) >= HOPELESS:
                raise NothingTrainedError(_why_nothing_trained(seen))

    def _progress(self, phase: Stage) -> Progress:
        sign, longest = (
            self.spec.objective.sign,
            self.spec.search.longest(self.runner.trainer.total_steps),
        )
        whole = [
            sign * record.value
            for record in self.records.values()
            if record.value is not None and record.schedule.total_steps == longest
        ]
        return Progress(
            phase=phase,
            trials_finished=len(self.records),
            budget_spent=round(self.spent, 4),
            budget=self.spec.search.budget.full_runs,
            best=sign * min(whole) if whole else None,
        )


def _why_nothing_trained(records: Sequence[TrialRecord]) -> str:
    if not records:
        return "the budget (full_runs or max_minutes) was spent before a run could start"
    reasons = [r.error for r in records if r.error]
    last = f"; the last: {reasons[-1].code}: {reasons[-1].message}" if reasons else ""
    return f"none of {len(records)} runs trained to its end{last}"
