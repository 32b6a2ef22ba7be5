"""What jobs of one name found, one after the other: how far an answer drifts over commits."""

from collections.abc import Sequence

from lrtuner.headline import Headline
from lrtuner.strict import Record
from lrtuner.words import number

NO_DRIFT = 0.005
"""Peaks that differ by less than this share are told as the same."""


class Run(Record):
    """One job: when it was submitted, for which commit, and what came of it."""

    job_id: str
    status: str
    at: str | None
    commit: str | None
    found: Headline | None


def changes(runs: Sequence[Run]) -> list[str]:
    """What is different from the last run before that found something, in words, for each run.

    `runs` are in their order, the oldest first.
    """
    told = []
    before: Headline | None = None
    for run in runs:
        told.append(_change(before, run.found) if run.found else "")
        before = run.found or before
    return told


def _change(before: Headline | None, now: Headline) -> str:
    if before is None:
        return "first"
    if now.content_hash is not None and now.content_hash == before.content_hash:
        return "the same result"
    parts = []
    if now.family != before.family:
        parts.append(f"{_spaced(before.family)} -> {_spaced(now.family)}")
    ratio = now.peak_lr / before.peak_lr
    if abs(ratio - 1.0) >= NO_DRIFT:
        parts.append(f"peak x {number(ratio)}")
    if not parts and now.title != before.title:
        parts.append(f"was {before.title}")
    return ", ".join(parts) or "the same schedule"


def _spaced(family: str) -> str:
    return family.replace("_", " ")
