"""A job from beginning to end. Each stage is a checkpoint."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from lrtuner import __version__
from lrtuner.budget import Plan, plan
from lrtuner.candidates import linear_to_zero, search_space, to_schedule
from lrtuner.document import (
    Context,
    OptimizerRef,
    Provenance,
    ScheduleDocument,
    SpentBudget,
    Verdict,
)
from lrtuner.errors import NothingTrainedError
from lrtuner.evidence import Failure, Progress, TrialRecord, rates_digest
from lrtuner.job import JobSpec
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.range_test import RangeTestResult
from lrtuner.recommendation import recommend
from lrtuner.selection import Contest, Decision, decide
from worker import planner, search
from worker.device import environment
from worker.failure import explained
from worker.journal import History, Journal
from worker.range_test import run_range_test
from worker.task import Task, make_task
from worker.training import full_cost, train

HOPELESS = 3
"""So many failed runs (raised, out of memory) without a completed one end the job."""


@dataclass
class Pipeline:
    """One job as it runs. `trials` and `stages` start as what earlier attempts left."""

    job_id: str
    spec: JobSpec
    device: torch.device
    public_url: str
    journal: Journal
    history: History
    now: Callable[[], str]
    trials: list[TrialRecord] = field(init=False)
    task: Task = field(init=False)
    range_test: RangeTestResult = field(init=False)

    def run(self) -> ScheduleDocument:
        """The recommendation.

        Raises:
            JobFailedError: the job cannot work or nothing trained; the journal keeps the evidence.
        """
        self._deadline_from = time.monotonic() - self.history.elapsed_seconds
        self.trials = list(self.history.trials)
        self.task = make_task(self.spec, self.device)
        self._tell_environment()
        found = self._stage(Stage.RANGE_TEST, self._sweep)
        self.range_test = RangeTestResult.model_validate(found)
        if self.spec.search.mode == "range_test":
            recommendation = self._recommend(self._read_off())
        else:
            self._stage(Stage.SEARCH, self._search)
            self._stage(Stage.CONFIRM, self._confirm)
            recommendation = self._recommend(self._decide())
        self._stage(Stage.RECOMMEND, lambda: self._published(recommendation))
        return recommendation

    # stages ---------------------------------------------------------------------------------------

    def _stage(self, stage: Stage, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stage's stored result if an earlier attempt finished it, else that of `work`."""
        if stage in self.history.stages:
            return self.history.stages[stage]
        self.journal.event("stage.started", _BEGUN[stage], stage, {})
        result = work()
        self.journal.stage_finished(stage, result)
        return result

    def _sweep(self) -> dict[str, Any]:
        result = run_range_test(
            self.task,
            tell=partial(self._message, Stage.RANGE_TEST),
            goes_on=lambda: self._in_time(self.spec.search.range_test_runs),
        )
        kind = "range_test.finished" if result.status == "ok" else "warning"
        suggestion = result.suggestion.model_dump()
        self.journal.event(kind, result.message, Stage.RANGE_TEST, suggestion)
        return result.model_dump(mode="json")

    def _search(self) -> dict[str, Any]:
        suggestion = self.range_test.suggestion
        space = search_space(self.spec.search.family_names, (suggestion.low, suggestion.high))
        planned = planner.Search(self.spec, suggestion, self.task.total_steps)
        limits = self._plan()
        while self._affords(limits.search_until):
            request = planned.planned(self.trials)
            if request is None:
                params = search.ask(
                    space,
                    self.trials,
                    seed=self.spec.seed,
                    number=len(self.trials),
                    sign=self.spec.objective.sign,
                )
                request = planned.sampled(params)
            self._run(request)
        arms = self._arms()
        return {
            "ranking": [t.number for t in arms.candidates],
            "baseline": arms.baseline.number,
            "plan": {"finalists": limits.finalists, "pairs": limits.pairs},
        }

    def _confirm(self) -> dict[str, Any]:
        arms, limits = self._arms(), self._plan()
        for request in planner.finalist_requests(arms, self.spec, limits.finalists):
            self._run_once(request)
        challenger = planner.choose(arms, self.trials, self.spec)
        if challenger.arm != arms.baseline.arm:
            self._message(Stage.CONFIRM, f"confirming {challenger.arm} against {arms.baseline.arm}")
            for request in planner.pair_requests(
                challenger, arms.baseline, self.spec, limits.pairs
            ):
                self._run_once(request)
        decision = self._decide()
        verdict = decision.verdict
        self.journal.event(
            "verdict", verdict.reason, Stage.CONFIRM, verdict.model_dump(exclude={"baseline"})
        )
        return {
            "challenger": challenger.number,
            "baseline": arms.baseline.number,
            "recommended": decision.schedule.document,
            "verdict": verdict.model_dump(mode="json"),
        }

    def _published(self, recommendation: ScheduleDocument) -> dict[str, Any]:
        provenance = recommendation.provenance
        return {"content_hash": provenance.content_hash if provenance else None}

    # decisions ------------------------------------------------------------------------------------

    def _arms(self) -> planner.Arms:
        arms = planner.rank(self.trials, self.spec)
        if arms is None:
            raise NothingTrainedError(self._why_nothing_trained())
        return arms

    def _read_off(self) -> Decision:
        """Linear decay to zero from the peak that the range test suggests: nothing was trained."""
        peak = self.range_test.suggestion.peaks["decaying"].lr
        verdict = Verdict(
            status="estimated",
            metric=self.spec.objective.metric,
            reason=f"Read off the range test alone, no schedule was trained. "
            f"{self.range_test.message}",
        )
        return Decision(to_schedule(linear_to_zero(peak), self.task.total_steps), verdict)

    def _decide(self) -> Decision:
        arms, sign = self._arms(), self.spec.objective.sign
        challenger = planner.choose(arms, self.trials, self.spec)
        ours = {t.seed: t for t in self.trials if t.purpose == "recommended"}
        theirs = {t.seed: t for t in self.trials if t.purpose == "reference"}
        pairs = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
        whole = [
            (a.value, b.value) for a, b in pairs if a.value is not None and b.value is not None
        ]
        if not whole and planner.score(arms.baseline, sign) <= planner.score(challenger, sign):
            challenger = arms.baseline
        contest = Contest(
            challenger=challenger.schedule,
            baseline=arms.baseline.schedule,
            challenger_values=tuple(a for a, _ in whole),
            baseline_values=tuple(b for _, b in whole),
            challenger_lost=sum(a.value is None and b.value is not None for a, b in pairs),
        )
        return decide(
            contest,
            metric=self.spec.objective.metric,
            sign=sign,
            asked_pairs=self.spec.search.confirm_pairs,
        )

    def _recommend(self, decision: Decision) -> ScheduleDocument:
        spec, task = self.spec, self.task
        budget = SpentBudget(full_runs=spec.search.budget.full_runs, spent=round(self.spent, 6))
        return recommend(
            decision.schedule,
            optimizer=OptimizerRef(
                name=spec.optimizer.name, args=spec.optimizer.args.model_dump(mode="json")
            ),
            context=Context(
                steps_per_epoch=task.steps_per_epoch,
                epochs=spec.training.epochs,
                batch_size=task.batch_size,
            ),
            verdict=decision.verdict,
            provenance=Provenance(
                job_id=self.job_id,
                tool_version=__version__,
                created_at=self.now(),
                content_hash="",
                seed=spec.seed,
                budget=budget,
            ),
            public_url=self.public_url,
        )

    # runs -----------------------------------------------------------------------------------------

    def _run_once(self, request: planner.Request) -> None:
        """Make a run of the confirm stage, unless it was made before or the budget is spent."""
        made = any(
            t.arm == request.arm and t.seed == request.seed and t.purpose == request.purpose
            for t in self.trials
        )
        if not made and self._affords(self.spec.search.budget.full_runs):
            self._run(request)

    def _run(self, request: planner.Request) -> None:
        trial = TrialRecord(
            number=len(self.trials),
            phase=request.phase,
            purpose=request.purpose,
            arm=request.arm,
            params=request.params,
            schedule=request.schedule,
            seed=request.seed,
        )
        self.journal.trial_started(trial)
        trial = trial.model_copy(update=self._trained(request))
        self.trials.append(trial)
        self.journal.trial_finished(trial, self._progress(trial.phase))
        self._give_up_if_hopeless()

    def _trained(self, request: planner.Request) -> dict[str, Any]:
        try:
            rates = request.schedule.values().tolist()
            confirming = request.phase is Stage.CONFIRM
            run = train(self.task, rates, request.seed, test=confirming)
        except Exception as error:  # noqa: BLE001 - anything a model may raise; the job goes on
            return {"state": TrialState.FAILED, "error": explained(error)}
        complete = run.state is TrialState.COMPLETE
        return {
            "state": run.state,
            "value": run.metrics[self.spec.objective.metric] if complete else None,
            "metrics": run.metrics,
            "curve": run.curve,
            "updates": run.updates,
            "rates_digest": rates_digest(run.rates),
            "cost": run.cost,
            "seconds": run.seconds,
            "error": Failure(code="diverged", message=run.reason) if run.reason else None,
        }

    def _give_up_if_hopeless(self) -> None:
        failed = [t for t in self.trials if t.state is TrialState.FAILED]
        if len(failed) >= HOPELESS and not self._completed():
            raise NothingTrainedError(self._why_nothing_trained())

    def _why_nothing_trained(self) -> str:
        if not self.trials:
            return "the budget (full_runs or max_minutes) was spent before a run could start"
        reasons = [t.error for t in self.trials if t.error]
        last = f"; the last: {reasons[-1].code}: {reasons[-1].message}" if reasons else ""
        return f"none of {len(self.trials)} runs trained to its end{last}"

    # budget and progress --------------------------------------------------------------------------

    @property
    def spent(self) -> float:
        """Full-training equivalents so far, everything charged."""
        return self.range_test.cost + sum(trial.cost for trial in self.trials)

    def _plan(self) -> Plan:
        budget = self.spec.search.budget.full_runs
        asked = self.spec.search.confirm_pairs
        return plan(budget, self.range_test.cost, full_cost(self.task, test=True), asked)

    def _affords(self, limit: float) -> bool:
        """Whether one more run fits below `limit` FTE and, in proportion, before the deadline."""
        fits = self.spent + full_cost(self.task, test=True) <= limit + 1e-9
        return fits and self._in_time(limit)

    def _in_time(self, limit: float) -> bool:
        """Whether it is before the deadline of what may spend the budget up to `limit` FTE."""
        budget = self.spec.search.budget
        if budget.max_minutes is None:
            return True
        elapsed = time.monotonic() - self._deadline_from
        return elapsed < 60.0 * budget.max_minutes * min(1.0, limit / budget.full_runs)

    def _completed(self) -> list[float]:
        return [t.value for t in self.trials if t.value is not None]

    def _progress(self, phase: Stage) -> Progress:
        sign = self.spec.objective.sign
        values = self._completed()
        return Progress(
            phase=phase,
            trials_finished=len(self.trials),
            budget_spent=round(self.spent, 4),
            budget=self.spec.search.budget.full_runs,
            best=sign * min(sign * value for value in values) if values else None,
        )

    def _tell_environment(self) -> None:
        found = environment(self.device, self.task.data.digest())
        told = f"training on {found.device} with torch {found.torch}"
        self.journal.event("environment", told, Stage.RANGE_TEST, found.model_dump())

    def _message(self, stage: Stage, text: str) -> None:
        self.journal.event("message", text, stage, {})


_BEGUN = {
    Stage.RANGE_TEST: "raising the learning rate until training diverges",
    Stage.SEARCH: "trying schedules, each trained to its end",
    Stage.CONFIRM: "repeating the best on fresh seeds, paired with the baseline",
    Stage.RECOMMEND: "writing the recommendation",
}
