"""What a search found: who is to be confirmed against whom, and what to beware of."""

import math
from collections.abc import Sequence

from lrtuner.document import LRSensitivity, Verdict
from lrtuner.range_test import Suggestion
from lrtuner.schedules.grammar import Schedule
from lrtuner.selection import Decision
from lrtuner.sensitivity import Sensitivity
from lrtuner.strategy.peaks import DRIFT_SPREAD
from lrtuner.strict import Record

NEAR_EDGE = 1.25
"""A peak within this ratio of a bound of the search may have its best beyond it."""

SHORT_HORIZON = 0.25
"""Below this share of the steps, what is best says little about all of them."""


class Caution(Record):
    """Something that makes the result less sure: a stable code and a sentence for people."""

    code: str
    message: str


class Contender(Record):
    """A schedule that came far: as it was `searched`, and over the whole training.

    `behind` is its relative loss compared with the reference's over the search's seeds, negative if
    it is better: the sum of luck and merit.
    """

    shape: str
    origin: str
    searched: Schedule
    schedule: Schedule
    behind: float
    trained: bool


class DriftFound(Record):
    """lr*(T) ~ T^-alpha, as used; `measured` is what two horizons of the job gave by themselves."""

    alpha: float
    measured: float | None
    source: str


class SearchResult(Record):
    """The outcome of the search stage. `ranking` are the contenders, the best first.

    `runs` counts the search's runs, `pairs` are planned to follow them.
    """

    challenger: Contender
    baseline: Contender
    ranking: list[Contender]
    drift: DriftFound
    sensitivity: list[Sensitivity]
    warnings: list[Caution]
    pairs: int
    runs: int

    @property
    def share(self) -> float:
        """The searched part of the whole training."""
        return self.baseline.searched.total_steps / self.baseline.schedule.total_steps

    def completed(self, decision: Decision) -> Decision:
        """The decision with what is to be known beside it; estimated where steps were left out."""
        verdict = self._qualified(decision.verdict)
        cautions = [*self.warnings, *_noise(verdict)]
        changes = {s.factor: s.change for s in self.sensitivity}
        sensitivity = LRSensitivity(half_peak=changes.get(0.5), double_peak=changes.get(2.0))
        update = {
            "warnings": [caution.message for caution in cautions],
            "lr_sensitivity": sensitivity if self.sensitivity else None,
        }
        return Decision(decision.schedule, verdict.model_copy(update=update))

    def _qualified(self, verdict: Verdict) -> Verdict:
        if self.share == 1.0:
            return verdict
        alpha, spread = self.drift.alpha, self.share**-DRIFT_SPREAD
        told = (
            f"{verdict.reason} All runs were over {self.share:.0%} of the steps: over all of them "
            f"the best peak is taken to be {self.share**alpha:.2f} times as high (exponent "
            f"{alpha:.2f}), and may well be {spread:.2f} times higher or lower than that."
        )
        status = "estimated" if verdict.status == "confirmed" else verdict.status
        return verdict.model_copy(update={"status": status, "reason": told})


def cautions(
    ranking: Sequence[Contender], suggestion: Suggestion, tried: Sequence[float], *, share: float
) -> list[Caution]:
    """What to beware of in a search; `tried` are the peaks of its reference, the best first."""
    found = []
    peaks = [ranking[0].searched.peak_lr, *tried[:1]]
    for bound, side in ((suggestion.low, "low"), (suggestion.high, "high")):
        near = [lr for lr in peaks if abs(math.log(lr / bound)) < math.log(NEAR_EDGE)]
        if near:
            told = (
                f"The best peak ({near[0]:.3g}) lies at the {side} end of what was searched "
                f"({suggestion.low:.3g} to {suggestion.high:.3g}); a better one may lie beyond: "
                "widen search.lr_range."
            )
            found.append(Caution(code="peak_at_edge", message=told))
    if len(tried) < 3:
        told = f"The baseline's peak was tuned with {len(tried)} runs only: allow a larger budget."
        found.append(Caution(code="peak_not_bracketed", message=told))
    if not ranking[0].trained:
        told = (
            "No schedule was trained over the whole length: the budget only allowed shorter runs."
        )
        found.append(Caution(code="only_short_runs", message=told))
    if share < SHORT_HORIZON:
        told = (
            f"Runs over {share:.0%} of the steps say little about all of them: "
            f"let search.horizon_fraction be {SHORT_HORIZON} or more."
        )
        found.append(Caution(code="short_horizon", message=told))
    return found


def _noise(verdict: Verdict) -> list[Caution]:
    if verdict.ci95 is None or verdict.difference is None:
        return []
    half = (verdict.ci95[1] - verdict.ci95[0]) / 2
    if abs(verdict.difference) >= half:
        return []
    told = (
        f"The noise of {verdict.metric} between seeds (+- {half:.2g} on the mean of "
        f"{verdict.pairs} pairs) is larger than the effect ({abs(verdict.difference):.2g})."
    )
    return [Caution(code="noise_exceeds_effect", message=told)]
