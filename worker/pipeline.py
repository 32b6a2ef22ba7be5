"""A job from beginning to end. Each stage is a checkpoint."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch

from lrtuner import __version__
from lrtuner.budget import PROBE_SHARE, SWEEP_SHARE, Plan, plan
from lrtuner.candidates import linear_to_zero, to_schedule
from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.document import (
    Context,
    OptimizerRef,
    Provenance,
    ScheduleDocument,
    SpentBudget,
    Verdict,
)
from lrtuner.errors import NothingTrainedError
from lrtuner.evidence import TrialRecord
from lrtuner.job import Comparison, JobSpec
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.range_test import RangeTestResult
from lrtuner.recommendation import recommend
from lrtuner.search_result import SearchResult
from lrtuner.selection import Contest, Decision, decide
from lrtuner.strategy import Ask, Outcome, Problem, Result, tune
from worker import trainer
from worker.device import environment
from worker.journal import History, Journal
from worker.planner import Planner, Request, pair_requests, pair_seed
from worker.range_test import run_range_test
from worker.runners.runner import InTurn, Runner
from worker.runs import Runs
from worker.task import Task, make_task
from worker.trainer import Trainer
from worker.training import Run, full_cost


@dataclass
class Pipeline:
    """One job as it runs; `history` is what earlier attempts left of it.

    The task is made from the job and trained here, unless one is given, or who trains it, or the
    `runner` that makes the runs.
    """

    job_id: str
    spec: JobSpec
    device: torch.device
    public_url: str
    journal: Journal
    history: History
    now: Callable[[], str]
    task: Task | Trainer | None = None
    runner: Runner | None = None
    range_test: RangeTestResult = field(init=False)
    runs: Runs = field(init=False)

    def run(self) -> ScheduleDocument:
        """The recommendation.

        Raises:
            JobFailedError: the job cannot work or nothing trained; the journal keeps the evidence.
        """
        self._began = time.monotonic() - self.history.elapsed_seconds
        runner = self.runner or InTurn(self.task or make_task(self.spec, self.device))
        runner.tell = lambda message: self._warn(message, "slots")
        self._runner, self.work = runner, runner.trainer
        self._tell_environment()
        found = self._stage(Stage.RANGE_TEST, self._sweep)
        self.range_test = RangeTestResult.model_validate(found)
        self.runs = Runs(
            self.spec,
            runner,
            self.journal,
            charged=self.range_test.cost,
            records={trial.number: trial for trial in self.history.trials},
        )
        if self.spec.search.mode == "range_test":
            return self._finished(self._read_off())
        found = self._stage(Stage.SEARCH, self._search)
        result = SearchResult.model_validate(found)
        self.runs.next_number = result.runs
        self._stage(Stage.CONFIRM, lambda: self._confirm(result))
        return self._finished(self._decide(result))

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
        allowed = self.spec.search.range_test_runs(SWEEP_SHARE + PROBE_SHARE)
        result = run_range_test(
            self.work,
            tell=partial(self._message, Stage.RANGE_TEST),
            goes_on=lambda: self._in_time(allowed),
            runner=self._runner,
        )
        kind = "range_test.finished" if result.status == "ok" else "warning"
        suggestion = result.suggestion.model_dump()
        self.journal.event(kind, result.message, Stage.RANGE_TEST, suggestion)
        return result.model_dump(mode="json")

    def _search(self) -> dict[str, Any]:
        planner, limits = self._planner(), self._plan()
        problem = planner.problem(limits.search - self.runs.charged, self._cost)
        outcome = self._tuned(planner, problem, limits)
        if outcome is None:
            raise NothingTrainedError(self._why_nothing_trained())
        result = planner.summary(
            outcome, self.range_test, pairs=limits.pairs, runs=self.runs.next_number
        )
        for warning in result.warnings:
            self.journal.event("warning", warning.message, Stage.SEARCH, {"code": warning.code})
        return result.model_dump(mode="json")

    def _tuned(self, planner: Planner, problem: Problem, limits: Plan) -> Outcome | None:
        """Drive the strategy: make the runs that it asks for, tell it what came of them."""
        tuning = tune(problem, planner.known(self.range_test.probes))
        asks: list[Ask] = []
        results: list[Result] | None = None
        while True:
            try:
                asks = tuning.send(results) if results is not None else next(tuning)
            except StopIteration as ended:
                outcome: Outcome | None = ended.value
                return outcome
            made = self.runs.make(
                [planner.request(ask) for ask in asks], lambda: self._in_time(limits.search)
            )
            results = [planner.result(a, r) for a, r in zip(asks, made, strict=False)]

    def _confirm(self, found: SearchResult) -> dict[str, Any]:
        whole = self.spec.search.budget.full_runs
        if found.challenger.shape != found.baseline.shape:
            arms = f"{found.challenger.shape} against {found.baseline.shape}"
            self._message(Stage.CONFIRM, f"confirming {arms}")
            asked = [pair_requests(found, self.spec, index) for index in range(found.pairs)]
            self.runs.make([run for pair in asked for run in pair], lambda: self._in_time(whole))
        self._compare()
        verdict = self._decide(found).verdict
        self.journal.event(
            "verdict", verdict.reason, Stage.CONFIRM, verdict.model_dump(exclude={"baseline"})
        )
        return {"verdict": verdict.model_dump(mode="json")}

    def _compare(self) -> None:
        """Each of the optimizers asked for, once, on the seed of the first pair."""
        longest, whole = self._longest, self.spec.search.budget.full_runs
        requests = []
        for name in self.spec.search.compare:
            compared = trainer.compared(self.work, name, longest)
            request = Request(
                purpose="comparison",
                phase=Stage.CONFIRM,
                shape=name,
                schedule=compared.schedule,
                seed=pair_seed(self.spec, 0),
                origin=name,
                params=compared.params,
            )
            requests.append(request)

        def train(work: Task | Trainer, request: Request) -> Run:
            return trainer.compare(work, cast(Comparison, request.origin), request.seed, longest)

        self.runs.make(requests, lambda: self._in_time(whole), train)

    # decisions ------------------------------------------------------------------------------------

    def _read_off(self) -> Decision:
        """Linear decay to zero from the peak that the range test suggests: nothing was trained."""
        peak = self.range_test.suggestion.peaks["decaying"].lr
        verdict = Verdict(
            status="estimated",
            metric=self.spec.objective.metric,
            reason=f"Read off the range test alone, no schedule was trained. "
            f"{self.range_test.message}",
        )
        return Decision(to_schedule(linear_to_zero(peak), self.work.total_steps), verdict)

    def _decide(self, found: SearchResult) -> Decision:
        pairs = [(self._judged(a), self._judged(b)) for a, b in self._pairs()]
        whole = [(a, b) for a, b in pairs if a is not None and b is not None]
        challenger = found.challenger
        if not whole and found.baseline.behind <= challenger.behind:
            challenger = found.baseline
        contest = Contest(
            challenger=challenger.schedule,
            baseline=found.baseline.schedule,
            challenger_values=tuple(a for a, _ in whole),
            baseline_values=tuple(b for _, b in whole),
            challenger_lost=sum(a is None and b is not None for a, b in pairs),
        )
        decision = decide(
            contest,
            metric=self.spec.objective.metric,
            sign=self.spec.objective.sign,
            asked_pairs=self.spec.search.confirm_pairs,
        )
        return found.completed(decision)

    def _pairs(self) -> list[tuple[TrialRecord, TrialRecord]]:
        ours = {t.seed: t for t in self.runs.all if t.purpose == "recommended"}
        theirs = {t.seed: t for t in self.runs.all if t.purpose == "reference"}
        return [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]

    def _why_nothing_trained(self) -> str:
        told = self.runs.why_nothing_trained()
        probes = self.range_test.probes
        lost = sum(probe.loss is None for probe in probes)
        return f"{told}; {lost} of {len(probes)} probes diverged" if lost else told

    def _judged(self, trial: TrialRecord) -> float | None:
        """The run's value; where it missed its target, the steps that it may have needed."""
        if trial.value is not None or trial.state is not TrialState.COMPLETE:
            return trial.value
        steps = trial.schedule.total_steps
        return self.spec.objective.loss(trial.state, None, trial.metrics, steps)

    def _finished(self, decision: Decision) -> ScheduleDocument:
        recommendation = self._recommend(decision)
        provenance = recommendation.provenance
        published = {"content_hash": provenance.content_hash if provenance else None}
        self._stage(Stage.RECOMMEND, lambda: published)
        return recommendation

    def _recommend(self, decision: Decision) -> ScheduleDocument:
        spec, task = self.spec, self.work
        budget = SpentBudget(
            full_runs=spec.search.budget.full_runs, spent=round(self.runs.spent, 6)
        )
        return recommend(
            decision.schedule,
            optimizer=OptimizerRef(
                name=spec.optimizer.name,
                args=spec.optimizer.args.model_dump(mode="json"),
                param_groups=spec.training.param_groups,
            ),
            context=Context(
                steps_per_epoch=task.steps_per_epoch,
                epochs=spec.training.epochs,
                batch_size=task.batch_size,
                grad_accum=task.grad_accum,
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

    # budget and progress --------------------------------------------------------------------------

    def _planner(self) -> Planner:
        task = self.work
        return Planner(
            self.spec, self.range_test.suggestion, task.total_steps, task.steps_per_epoch
        )

    def _plan(self) -> Plan:
        search = self.spec.search
        kept = sum(trainer.compared(self.work, name, self._longest).cost for name in search.compare)
        return plan(search.budget.full_runs, self._longest_cost, search.confirm_pairs, kept)

    @property
    def _longest(self) -> int:
        return self.spec.search.longest(self.work.total_steps)

    @property
    def _longest_cost(self) -> float:
        """FTE of one of the longest runs, the test split included."""
        return self._cost(self._longest, test=True)

    def _cost(self, steps: int, *, test: bool = False) -> float:
        return full_cost(self.work, test=test, target=self.spec.objective.target, steps=steps)

    def _in_time(self, limit: float) -> bool:
        """Whether it is before the deadline of what may spend the budget up to `limit` FTE."""
        budget = self.spec.search.budget
        if budget.max_minutes is None:
            return True
        elapsed = time.monotonic() - self._began
        return elapsed < 60.0 * budget.max_minutes * min(1.0, limit / budget.full_runs)

    def _tell_environment(self) -> None:
        data = self.work.data
        libraries = dict.fromkeys([*self.spec.model.libraries, *self.spec.dataset.libraries])
        about = {"dataset_bytes": data.num_bytes, "dataset_streamed": data.streamed}
        found = environment(self.device, data.digest(), libraries).model_copy(update=about)
        versions = {"torch": found.torch, **found.libraries}
        told = f"training on {found.device} with "
        told += ", ".join(f"{name} {number}" for name, number in versions.items())
        if not isinstance(self.work, Task) and self.work.walls:
            found = found.model_copy(update={"walls": list(self.work.walls)})
            told += ", in a sandbox"
            for warning in self.work.warnings:
                self._warn(warning, "sandbox")
        if self._runner.slots > 1:
            told += f", up to {self._runner.slots} runs at a time"
        if data.streamed:
            size = (data.num_bytes or 0) // MEBIBYTE
            self._warn(f"dataset: {size} MiB, streamed from disk", "streamed")
        self.journal.event("environment", told, Stage.RANGE_TEST, found.model_dump())
        for note in self.work.notes:
            self._warn(note, "source")

    def _warn(self, text: str, code: str) -> None:
        self.journal.event("warning", text, Stage.RANGE_TEST, {"code": code})

    def _message(self, stage: Stage, text: str) -> None:
        self.journal.event("message", text, stage, {})


_BEGUN = {
    Stage.RANGE_TEST: "raising the learning rate until training diverges, then probing",
    Stage.SEARCH: "comparing whole schedules, first compressed to a part of the training",
    Stage.CONFIRM: "repeating the best on fresh seeds, paired with the baseline",
    Stage.RECOMMEND: "writing the recommendation",
}
