"""A recommendation in a few numbers: what a list of jobs shows of each."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from lrtuner.document import ScheduleDocument
from lrtuner.strict import Record
from lrtuner.words import title


class Headline(Record):
    """What a job recommends, and how sure that is; the numbers are those of its config."""

    status: Literal["confirmed", "estimated", "no_difference_resolved"] | None = Field(
        description="Whether it is better than the baseline, as far as is known."
    )
    metric: str | None = Field(description="What was compared.")
    difference: float | None = Field(
        description="The mean of recommended minus baseline over the pairs."
    )
    ci95: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        description="The 95 % interval of the difference."
    )
    pairs: int = Field(description="Fresh seeds that both were run on.")
    peak_lr: float = Field(description="The highest rate.")
    family: str = Field(description="The family of the body.")
    title: str = Field(description="The schedule in one line.")
    content_hash: str | None = Field(description="Of the config: the same job gives the same.")


def headline(recommendation: str) -> Headline | None:
    """The headline of a published config, the text of its file; None if it is no schedule."""
    try:
        found = ScheduleDocument.model_validate_json(recommendation)
    except ValidationError:
        return None
    verdict, provenance = found.verdict, found.provenance
    return Headline(
        status=verdict.status if verdict else None,
        metric=verdict.metric if verdict else None,
        difference=verdict.difference if verdict else None,
        ci95=verdict.ci95 if verdict else None,
        pairs=verdict.pairs if verdict else 0,
        peak_lr=found.peak_lr,
        family=found.body.family,
        title=title(found),
        content_hash=provenance.content_hash if provenance else None,
    )
