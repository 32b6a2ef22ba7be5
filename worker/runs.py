"""The runs of a job: made once, recorded, and never made again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from worker.task import Task
from worker.trainer import Trainer, train_together
from worker.training import Run

HOPELESS = 3
"""So many failed runs (raised, out of memory) without a completed one end the job."""


@dataclass
class Runs:
    """All runs of a job by their number, which is their place among all that were ever asked for.

    A job that was interrupted asks for the same runs in the same order; those that are recorded
    are not made again. `charged` is what was spent before the first of them.
    """

    spec: JobSpec
    task: Task | Trainer
    journal: Journal
    charged: float
    records: dict[int, TrialRecord]
    next_number: int = field(default=0)

    def make(self, requests: Sequence[Request], goes_on: Callable[[], bool]) -> list[TrialRecord]:
        """Make what was asked for and return the records in that order, up to the first that lacks.

        Runs of one seed share what their schedules have in common at the start. Fewer records than
        requests mean that `goes_on` said no; it is asked only where something is still to be made.

        Raises:
            NothingTrainedError: runs keep failing and none has ever completed.
        """
        numbered = list(enumerate(requests, start=self.next_number))
        self.next_number += len(numbered)
        for _, group in groupby(numbered, key=lambda pair: pair[1].seed):
            runs = dict(group)
            if self._lacking(runs):
                if not goes_on():
                    break
                self._train(runs)
        known = takewhile(lambda pair: pair[0] in self.records, numbered)
        return [self.records[number] for number, _ in known]

    def recorded(self, count: int) -> bool:
        """Whether the next `count` runs were made before."""
        return not self._lacking(range(self.next_number, self.next_number + count))

    @property
    def spent(self) -> float:
        """Full-training equivalents so far, everything charged."""
        return self.charged + sum(record.cost for record in self.records.values())

    @property
    def all(self) -> list[TrialRecord]:
        """The records in the order of their numbers."""
        return [self.records[number] for number in sorted(self.records)]

    def make_by(self, request: Request, train: Callable[[], Run]) -> TrialRecord:
        """Make a single run that is trained in its own way."""
        number = self.next_number
        self.next_number += 1
        if number in self.records:
            return self.records[number]
        self.journal.trial_started(self._begun(number, request))
        try:
            outcome = self._outcome(train())
        except Exception as error:  # noqa: BLE001 - anything a model may raise; the job goes on
            outcome = {"state": TrialState.FAILED, "error": explained(error)}
        return self._finish(number, request, outcome)

    def why_nothing_trained(self) -> str:
        """What became of the runs, where none completed."""
        records = self.all
        if not records:
            return "the budget (full_runs or max_minutes) was spent before a run could start"
        reasons = [r.error for r in records if r.error]
        last = f"; the last: {reasons[-1].code}: {reasons[-1].message}" if reasons else ""
        return f"none of {len(records)} runs trained to its end{last}"

    def _lacking(self, runs: Iterable[int]) -> list[int]:
        return [number for number in runs if number not in self.records]

    def _train(self, runs: dict[int, Request]) -> None:
        """Train the runs of one seed; one that raises takes none of the others with it.

        Where a part of them is recorded already, all are trained again: only so do the costs that
        they share come out as they would have.
        """
        for number in self._lacking(runs):
            self.journal.trial_started(self._begun(number, runs[number]))
        crashed = {n for n, r in self.records.items() if r.state is TrialState.FAILED}
        together = {n: r for n, r in runs.items() if n not in crashed}
        try:
            for number, run in self._trained(together):
                if number not in self.records:
                    self._finish(number, runs[number], self._outcome(run))
        except Exception as error:  # noqa: BLE001 - anything a model may raise; the job goes on
            lacking = self._lacking(runs)
            if len(together) == 1:
                failed = {"state": TrialState.FAILED, "error": explained(error)}
                self._finish(lacking[0], runs[lacking[0]], failed)
                return
            for number in lacking:
                self._train({number: runs[number]})

    def _trained(self, runs: dict[int, Request]) -> Iterator[tuple[int, Run]]:
        numbers, requests = list(runs), list(runs.values())
        together = train_together(
            self.task,
            [request.schedule.values() for request in requests],
            requests[0].seed,
            test=requests[0].phase is Stage.CONFIRM,
            norms=any(request.norms for request in requests),
            target=self.spec.objective.target,
        )
        for position, run in together:
            yield numbers[position], run

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
        states = [record.state for record in self.records.values()]
        if TrialState.COMPLETE not in states and states.count(TrialState.FAILED) >= HOPELESS:
            raise NothingTrainedError(self.why_nothing_trained())

    def _progress(self, phase: Stage) -> Progress:
        sign, longest = self.spec.objective.sign, self.spec.search.longest(self.task.total_steps)
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
