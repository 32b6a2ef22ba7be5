"""A job as a problem of the strategy, and what the strategy asks as runs of the job."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from lrtuner.budget import horizons
from lrtuner.candidates import (
    AnyShape,
    GivenShape,
    PointShape,
    RefinedShape,
    linear_to_zero,
    named,
    pool,
    search_space,
)
from lrtuner.errors import NothingTrainedError
from lrtuner.evidence import Purpose, TrialRecord
from lrtuner.job import JobSpec, derived_seed, search_seed
from lrtuner.lifecycle import Stage
from lrtuner.range_test import Probe, RangeTestResult, Suggestion, centre, log_loss
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.table import MAX_VALUES
from lrtuner.search_result import Caution, Contender, DriftFound, SearchResult, cautions
from lrtuner.sensitivity import sensitivity
from lrtuner.strategy import Ask, Candidate, Drift, Outcome, Problem, Result, Shape
from lrtuner.strategy.peaks import DRIFT_SPREAD, USUAL_DRIFT
from worker import search
from worker.search import Tried

REFERENCE = PointShape({k: v for k, v in linear_to_zero(1.0).items() if k != "peak_lr"})
"""Warmup and linear decay to zero: whose peak is tuned, and what the others must beat."""


RANKED = 20
"""So many contenders are kept with the result."""

REACH = 10.0**0.5
"""The sampler draws peaks up to so many times below and above the best of the reference."""

NOT_REPEATABLE = Caution(
    code="not_repeatable",
    message="Training twice from one seed gave two results: runs of one seed share less than they "
    "should, and the job cannot be repeated exactly.",
)


@dataclass(frozen=True)
class Request:
    """One run to make: which schedule, on which seed, and why."""

    purpose: Purpose
    phase: Stage
    shape: str
    schedule: Schedule
    seed: int
    origin: str = ""
    params: dict[str, Any] | None = None
    norms: bool = False

    @property
    def arm(self) -> str:
        """The name of the schedule within the job: runs with the same arm differ in seed only."""
        return named(self.schedule.body.family, self.schedule.document)


@dataclass(frozen=True)
class Planner:
    """What a job searches: over `total_steps` updates, or the part of them that it allows."""

    spec: JobSpec
    suggestion: Suggestion
    total_steps: int
    steps_per_epoch: int

    def problem(self, budget: float, cost: Callable[[int], float]) -> Problem:
        """What the search chooses from, what its runs cost and what they may cost together."""
        suggestion = self.suggestion
        return Problem(
            horizons=horizons(self.longest, compressible=self.spec.objective.compressible),
            reference=REFERENCE,
            start_lr=suggestion.peaks["decaying"].lr,
            bounds=(suggestion.low, suggestion.high),
            shapes=pool(self.spec.search.family_names),
            cost=cost,
            update_cost=1.0 / self.total_steps,
            budget=budget,
            given=self._given(),
            usual_lrs=self._usual(),
            sampler=self._sampled,
            derive=self._derived,
        )

    def _given(self) -> list[tuple[Shape, float]]:
        """The user's schedule, with the peak that stands for its own over the longest runs."""
        user = self.user
        if user is None:
            return []
        return [(user, Drift().carried(user.given.peak_lr, self.total_steps, self.longest))]

    @property
    def longest(self) -> int:
        """The updates of the longest runs."""
        return self.spec.search.longest(self.total_steps)

    @cached_property
    def user(self) -> GivenShape | None:
        """The schedule that the job gives as its baseline."""
        baseline = self.spec.baseline
        return GivenShape(baseline.in_steps(self.steps_per_epoch)) if baseline else None

    def known(self, probes: Sequence[Probe]) -> list[Result]:
        """The probes of the range test as results of the reference.

        They measured the held-out loss: where something else decides, they say only where to begin.
        """
        if self.spec.objective.metric != "val_loss":
            return []
        return [
            Result(
                Ask(REFERENCE, probe.lr, probe.steps, 0, "peak", "reference"),
                math.inf if probe.loss is None else probe.loss,
                probe.cost,
            )
            for probe in probes
            if probe.kind == "decaying"
        ]

    def request(self, ask: Ask) -> Request:
        """The run that the strategy asks for."""
        shape = cast(AnyShape, ask.shape)
        return Request(
            purpose=ask.purpose,
            phase=Stage.SEARCH,
            shape=shape.key,
            schedule=shape.schedule(ask.lr, ask.steps),
            params={**shape.params, "peak_lr": ask.lr} if isinstance(shape, PointShape) else None,
            seed=search_seed(self.spec.seed, ask.seed),
            origin=ask.origin,
            norms=(ask.steps, ask.seed) == (self.longest, 0),
        )

    def result(self, ask: Ask, trial: TrialRecord) -> Result:
        """What came of it, as the strategy is told."""
        loss = self.spec.objective.loss(trial.state, trial.value, trial.metrics, ask.steps)
        return Result(ask, loss, trial.cost, trial.gradient_norms)

    def _usual(self) -> list[float]:
        """The rates that one would begin with, as far as the job allows them."""
        low, high = self.spec.search.lr_range or (0.0, math.inf)
        return [lr for lr in self.spec.optimizer.default_lrs if low <= lr <= high]

    def summary(
        self, outcome: Outcome, range_test: RangeTestResult, *, pairs: int, runs: int
    ) -> SearchResult:
        """The outcome as the job records it."""
        tried = outcome.tried
        challenger, baseline = contenders(outcome, self.user)
        ranking = [
            self._contender(c, outcome.drift) for c in outcome.candidates if math.isfinite(c.behind)
        ]
        share = self.longest / self.total_steps
        warnings = cautions(
            ranking, self.suggestion, sorted(tried, key=tried.__getitem__), share=share
        )
        if not range_test.repeatable:
            warnings.append(NOT_REPEATABLE)
        peak = centre([(lr, log_loss(loss)) for lr, loss in tried.items()])
        return SearchResult(
            challenger=self._contender(challenger, outcome.drift),
            baseline=self._contender(baseline, outcome.drift),
            ranking=ranking[:RANKED],
            drift=_found(outcome.drift),
            sensitivity=sensitivity(list(tried.items()), peak) if peak else [],
            warnings=warnings,
            pairs=pairs,
            runs=runs,
        )

    def _contender(self, candidate: Candidate, drift: Drift) -> Contender:
        shape = cast(AnyShape, candidate.shape)
        user = self.user
        lr = drift.carried(candidate.lr, self.longest, self.total_steps)
        return Contender(
            shape=shape.key,
            origin=candidate.origin,
            searched=shape.schedule(candidate.lr, self.longest),
            schedule=user.given
            if user and shape.key == user.key
            else shape.schedule(lr, self.total_steps),
            behind=candidate.behind,
            trained=candidate.trained,
        )

    def _sampled(
        self, results: Sequence[Result], steps: int, count: int
    ) -> list[tuple[Shape, float]]:
        space = search_space(self.spec.search.family_names, self._reach(results, steps))
        tried = [
            Tried({**r.ask.shape.params, "peak_lr": r.ask.lr}, r.loss)
            for r in results
            if r.ask.steps == steps and isinstance(r.ask.shape, PointShape)
        ]
        asked = search.ask(
            space, tried, count, sampler=self.spec.search.sampler, seed=self.spec.seed
        )
        return [
            (PointShape({k: v for k, v in params.items() if k != "peak_lr"}), params["peak_lr"])
            for params in asked
        ]

    def _reach(self, results: Sequence[Result], steps: int) -> tuple[float, float]:
        """Between which peaks the sampler draws: around the reference's best, within the bounds."""
        tuned = {
            r.ask.lr: log_loss(r.loss)
            for r in results
            if r.ask.shape.key == REFERENCE.key and r.ask.steps == steps
        }
        at = centre(list(tuned.items())) or self.suggestion.peaks["decaying"].lr
        return max(at / REACH, self.suggestion.low), min(at * REACH, self.suggestion.high)

    def _derived(self, result: Result) -> list[Shape]:
        """What the gradient norms of a run over the longest horizon suggest.

        Nothing where the gradient vanished: rates would be in inverse proportion to zero.
        """
        if not result.norms or result.ask.steps > MAX_VALUES:
            return []
        if not all(0.0 < norm < math.inf for norm in result.norms):
            return []
        return [RefinedShape(tuple(result.norms), self.spec.optimizer.norm_order)]


def pair_requests(found: SearchResult, spec: JobSpec, index: int) -> list[Request]:
    """Challenger and baseline on a fresh seed: nothing was chosen by it."""
    seed = pair_seed(spec, index)
    sides: list[tuple[Purpose, Contender]] = [
        ("recommended", found.challenger),
        ("reference", found.baseline),
    ]
    return [
        Request(purpose, Stage.CONFIRM, side.shape, side.searched, seed, side.origin)
        for purpose, side in sides
    ]


def pair_seed(spec: JobSpec, index: int) -> int:
    """A seed that nothing was chosen by."""
    return derived_seed(spec.seed, "pair", index)


def _found(drift: Drift) -> DriftFound:
    usual = f"the usual {USUAL_DRIFT} +- {DRIFT_SPREAD}"
    source = usual if drift.measured is None else f"{usual}, weighed with what this job measured"
    return DriftFound(alpha=drift.alpha, measured=drift.measured, source=source)


def contenders(outcome: Outcome, user: GivenShape | None) -> tuple[Candidate, Candidate]:
    """The challenger, and the baseline that it must beat.

    The baseline is the user's schedule if there is one, else the reference at the best of its
    peaks, else, where these diverged, the last in the ranking; the challenger is the best candidate
    of another shape.

    Raises:
        NothingTrainedError: all of them diverged.
    """
    known = [c for c in outcome.candidates if math.isfinite(c.behind)]
    own = [c for c in known if user and c.shape.key == user.key]
    tuned = [c for c in known if c.shape.key == outcome.reference.shape.key]
    if not known:
        raise NothingTrainedError("every schedule diverged over the whole length")
    baseline = [*own, *tuned, known[-1]][0]
    others = [c for c in known if c.shape.key != baseline.shape.key]
    return (others[0] if others else baseline), baseline
