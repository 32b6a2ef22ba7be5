"""Which run comes next, as a pure function of the runs so far.

Nothing is remembered elsewhere, so a job that was killed goes on exactly as if it had not been.
The search first runs the plain baselines (linear to zero, constant) at the peaks of the range test
and at the optimizer's usual rates, then each family once in the middle of its space at the best of
those peaks, finishes tuning the baselines, and gives the rest to the sampler. All search runs share
one seed: the same initial weights and data order for every schedule.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrtuner.candidates import (
    WARMUP_FRACTIONS,
    constant,
    family_space,
    linear_to_zero,
    to_schedule,
)
from lrtuner.evidence import TrialRecord
from lrtuner.job import JobSpec, derived_seed
from lrtuner.jsontext import digest
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.range_test import Suggestion
from lrtuner.schedules.grammar import Schedule

Purpose = Literal["search", "baseline", "finalist", "recommended", "reference"]

LR_STEP = 2.0**1.5
"""Between neighbouring peaks of the baseline's tuning: 1.5 octaves."""

MAX_EXTENSIONS = 2
"""How often the tuning of the baseline's peak goes further while its best is at an edge."""


@dataclass(frozen=True)
class Request:
    """One run to make: which schedule, on which seed, and why."""

    purpose: Purpose
    phase: Stage
    schedule: Schedule
    seed: int
    params: dict[str, Any] | None = None

    @property
    def arm(self) -> str:
        """The name of the schedule within the job: runs with the same arm differ in seed only."""
        return arm_of(self.schedule)


def arm_of(schedule: Schedule) -> str:
    """A short name that depends on the whole schedule."""
    body = schedule.body.family
    return f"{body}-{digest(schedule.document).removeprefix('sha256:')[:10]}"


@dataclass(frozen=True)
class Search:
    """The planned part of the search stage."""

    spec: JobSpec
    suggestion: Suggestion
    total_steps: int

    @property
    def seed(self) -> int:
        """The seed of every search run."""
        return derived_seed(self.spec.seed, "search")

    def planned(self, trials: Sequence[TrialRecord]) -> Request | None:
        """The next planned run that is not among `trials`; None when the sampler may take over."""
        known = {trial.arm for trial in trials}
        requests = (self._request(params, purpose) for params, purpose in self._points(trials))
        return next((request for request in requests if request.arm not in known), None)

    def sampled(self, params: dict[str, Any]) -> Request:
        """The run of a point that the sampler chose."""
        return self._request(params, "search")

    def _points(self, trials: Sequence[TrialRecord]) -> Iterator[tuple[dict[str, Any], Purpose]]:
        """The planned points in order; later ones depend on how the earlier ones went."""
        peaks = self.suggestion.peaks
        decaying, flat = peaks["decaying"].lr, peaks["constant"].lr
        first = [decaying, *self._usual()]
        around = [self._within(decaying * LR_STEP), self._within(decaying / LR_STEP)]
        yield linear_to_zero(decaying), "baseline"
        yield constant(flat), "baseline"
        if self.spec.baseline:
            yield {}, "baseline"
        for peak in first:
            yield linear_to_zero(peak), "baseline"
        best = min(first, key=lambda peak: self._result(trials, peak))
        for family in self.spec.search.family_names:
            middle = {name: span.at(0.5) for name, span in family_space(family).items()}
            warmup = {"warmup_fraction": WARMUP_FRACTIONS.at(0.5)}
            yield {"family": family, "peak_lr": best, **warmup, **middle}, "search"
        for peak in around:
            yield linear_to_zero(peak), "baseline"
        for peak in self._extensions(trials, [*first, *around]):
            yield linear_to_zero(peak), "baseline"
        yield constant(self._within(flat * LR_STEP)), "baseline"

    def _usual(self) -> list[float]:
        """The rates that one would begin with, as far as the job allows them."""
        low, high = self.spec.search.lr_range or (0.0, math.inf)
        return [lr for lr in self.spec.optimizer.default_lrs if low <= lr <= high]

    def _extensions(self, trials: Sequence[TrialRecord], tried: Sequence[float]) -> Iterator[float]:
        """Peaks one step further while the best of the runs so far is at an edge of them."""
        peaks = sorted(tried)
        for _ in range(MAX_EXTENSIONS):
            best = min(peaks, key=lambda peak: self._result(trials, peak))
            hopeless = math.isinf(self._result(trials, best))
            if best == peaks[0] or hopeless:
                peaks.insert(0, self._within(peaks[0] / LR_STEP))
                yield peaks[0]
            elif best == peaks[-1]:
                peaks.append(self._within(best * LR_STEP))
                yield peaks[-1]
            else:
                return

    def _result(self, trials: Sequence[TrialRecord], peak: float) -> float:
        """That of linear decay from `peak`; infinity until it has trained to its end."""
        arm = self._request(linear_to_zero(peak), "baseline").arm
        return min((self._score(t) for t in trials if t.arm == arm), default=math.inf)

    def _score(self, trial: TrialRecord) -> float:
        return score(trial, self.spec.objective.sign)

    def _within(self, peak: float) -> float:
        return min(max(peak, self.suggestion.low), self.suggestion.high)

    def _request(self, params: dict[str, Any], purpose: Purpose) -> Request:
        given = None if params else self.spec.baseline
        per_epoch = self.total_steps // (self.spec.training.epochs or 1)
        schedule = given.in_steps(per_epoch) if given else to_schedule(params, self.total_steps)
        return Request(purpose, Stage.SEARCH, schedule, self.seed, params or None)


@dataclass(frozen=True)
class Arms:
    """The outcome of the search: candidates in order of their result, and the baseline."""

    candidates: tuple[TrialRecord, ...]
    baseline: TrialRecord


def rank(trials: Sequence[TrialRecord], spec: JobSpec) -> Arms | None:
    """Order the search's completed runs; None if none completed.

    Candidates are the schedules of another shape than the baseline, which was tuned over its peaks.

    The baseline is the user's schedule if there is one and it completed, else the best linear
    decay to zero, else the best of the constants, else the worst completed run: there is always
    something to compare with.
    """
    sign = spec.objective.sign
    done = [t for t in trials if t.phase is Stage.SEARCH and t.state is TrialState.COMPLETE]
    if not done:
        return None
    ordered = sorted(done, key=lambda t: (score(t, sign), t.number))
    baseline = _baseline(ordered, spec) or ordered[-1]
    candidates = tuple(t for t in ordered if not _same_shape(t, baseline))
    return Arms(candidates, baseline)


def _same_shape(trial: TrialRecord, baseline: TrialRecord) -> bool:
    """Whether the trial is the baseline itself, or the baseline at another peak."""
    ours, theirs = trial.params, baseline.params
    if ours is None or theirs is None:
        return trial.arm == baseline.arm
    return {**ours, "peak_lr": None} == {**theirs, "peak_lr": None}


def _baseline(ordered: Sequence[TrialRecord], spec: JobSpec) -> TrialRecord | None:
    tuned = [t for t in ordered if t.purpose == "baseline"]
    if spec.baseline:
        chosen = next((t for t in tuned if t.params is None), None)  # the only one not from a point
        if chosen:
            return chosen
    for family in ("polynomial", "constant"):
        chosen = next((t for t in tuned if t.params and t.params["family"] == family), None)
        if chosen:
            return chosen
    return None


def finalist_requests(arms: Arms, spec: JobSpec, count: int) -> list[Request]:
    """One more run, on one fresh seed, of the best candidates and of the baseline."""
    if not count:
        return []
    seed = derived_seed(spec.seed, "finalist", 0)
    chosen = [*arms.candidates[:count], arms.baseline]
    return [Request("finalist", Stage.CONFIRM, t.schedule, seed, t.params) for t in chosen]


def choose(arms: Arms, trials: Sequence[TrialRecord], spec: JobSpec) -> TrialRecord:
    """The challenger: the candidate with the best mean over the seeds that all finalists ran on."""
    sign = spec.objective.sign
    finals = {t.arm: t for t in trials if t.purpose == "finalist"}
    raced = [t for t in arms.candidates if t.arm in finals]
    if not raced:
        return arms.candidates[0] if arms.candidates else arms.baseline
    return min(raced, key=lambda t: (score(t, sign) + score(finals[t.arm], sign), t.number))


def pair_requests(
    challenger: TrialRecord, baseline: TrialRecord, spec: JobSpec, count: int
) -> list[Request]:
    """Both schedules on `count` seeds that nothing was chosen by."""
    requests = []
    for index in range(count):
        seed = derived_seed(spec.seed, "pair", index)
        ours = Request("recommended", Stage.CONFIRM, challenger.schedule, seed, challenger.params)
        theirs = Request("reference", Stage.CONFIRM, baseline.schedule, seed, baseline.params)
        requests += [ours, theirs]
    return requests


def score(trial: TrialRecord, sign: float) -> float:
    """The run's result, smaller is better; infinity unless it completed."""
    return sign * trial.value if trial.value is not None else math.inf
