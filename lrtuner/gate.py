"""Whether what a job found is better or worse than the schedule that was in use."""

from typing import Literal

from lrtuner.comparing import same_rates
from lrtuner.document import ScheduleDocument, Verdict
from lrtuner.errors import InvalidInputError
from lrtuner.strict import Record
from lrtuner.words import baseline_schedule, plural, title, verdict_rows


class Standing(Record):
    """How the best schedule that a job found stands to the one in use, by pairs on fresh seeds.

    `better`: confirmed, by at least 5 pairs and a 95 % interval of the difference that excludes
    zero. `worse`: the interval excludes zero on the other side, or the new one did not train to its
    end where the one in use did. `unresolved`: the pairs do not tell. `difference` is the new one
    minus the one in use in the metric's unit, `ci95` its interval.
    """

    outcome: Literal["better", "worse", "unresolved"]
    reason: str
    metric: str
    difference: float | None = None
    ci95: list[float] | None = None
    pairs: int = 0


def standing(recommended: ScheduleDocument, in_use: ScheduleDocument, name: str) -> Standing:
    """What the recommendation of a job whose baseline is `in_use` says about the two.

    A job recommends its own baseline where it found nothing that came out ahead of it: then the
    verdict is the baseline's, and is turned around here.

    Args:
        recommended: the config that the job recommends.
        in_use: the baseline of the job.
        name: what to call it in the reason.

    Raises:
        InvalidInputError: there is no verdict, or a schedule in seconds can be no baseline.
    """
    verdict, context = recommended.verdict, recommended.context
    if verdict is None:
        raise InvalidInputError("the recommendation has no verdict: it was compared with nothing")
    given = in_use.in_steps(context.steps_per_epoch if context else 1)
    if same_rates(recommended, given):
        return _kept(verdict, name)
    compared = baseline_schedule(verdict)
    told = f"than {name}: {_numbers(verdict)}"
    if compared is None or not same_rates(compared, given):
        reason = f"not compared with {name}: it is another baseline, or did not train to its end"
        return Standing(outcome="unresolved", reason=reason, metric=verdict.metric)
    if verdict.status == "confirmed":
        return _standing("better", f"better {told}", verdict)
    return _standing("unresolved", f"neither better nor worse {told}. {verdict.reason}", verdict)


def _kept(verdict: Verdict, name: str) -> Standing:
    """The schedule in use is recommended itself; `verdict` compares it with what came closest."""
    turned = _turned(verdict)
    other = baseline_schedule(verdict)
    found = f"the best other schedule ({title(other)})" if other else "the best other schedule"
    so = f"so {name} itself is recommended"
    if verdict.difference is not None and _excludes_zero(verdict):
        reason = f"worse than {name}: {found} has {_numbers(turned)}, {so}"
        return _standing("worse", reason, turned)
    if verdict.difference is not None:
        reason = f"neither better nor worse than {name}: {found} has {_numbers(turned)}, {so}"
        return _standing("unresolved", reason, turned)
    if verdict.status == "no_difference_resolved":
        reason = f"worse than {name}: {found} did not train to its end on fresh seeds, {so}"
        return _standing("worse", reason, turned)
    return _standing("unresolved", f"not better than {name}: nothing came out ahead, {so}", turned)


def _turned(verdict: Verdict) -> Verdict:
    """The verdict with its two sides exchanged."""
    update = {
        "difference": None if verdict.difference is None else -verdict.difference,
        "ci95": [-bound for bound in reversed(verdict.ci95)] if verdict.ci95 else None,
        "p_value": None,  # one-sided: it is not that of the other side
        "recommended_mean": verdict.baseline_mean,
        "baseline_mean": verdict.recommended_mean,
    }
    return verdict.model_copy(update=update)


def _excludes_zero(verdict: Verdict) -> bool:
    return verdict.ci95 is not None and not verdict.ci95[0] <= 0.0 <= verdict.ci95[1]


def _standing(
    outcome: Literal["better", "worse", "unresolved"], reason: str, verdict: Verdict
) -> Standing:
    return Standing(
        outcome=outcome,
        reason=reason,
        metric=verdict.metric,
        difference=verdict.difference,
        ci95=verdict.ci95,
        pairs=verdict.pairs,
    )


def _numbers(verdict: Verdict) -> str:
    told = dict(verdict_rows(verdict))
    if "difference" not in told:
        return f"{verdict.metric} unknown, {plural(verdict.pairs, 'pair')}"
    return f"{told['difference']}, {told['interval']}"
