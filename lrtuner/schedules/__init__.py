"""Schedules as pure functions of the step.

`grammar.Schedule` is peak x [warmup] body [cooldown] with a floor: the one evaluator. A *family* is
a body: one file here with its formula, plus its name in `AnyBody` below.
"""

from typing import Annotated, get_args

from pydantic import Field

from lrtuner.schedules._base import BaseBody
from lrtuner.schedules.constant import Constant
from lrtuner.schedules.cosine import Cosine
from lrtuner.schedules.exponential import Exponential
from lrtuner.schedules.inverse_time import InverseTime
from lrtuner.schedules.polynomial import Polynomial
from lrtuner.schedules.step import Step

# The one line that a new family adds itself to.
AnyBody = Constant | Polynomial | Cosine | Exponential | Step | InverseTime

Body = Annotated[AnyBody, Field(discriminator="family")]

FAMILIES: dict[str, type[AnyBody]] = {
    body.model_fields["family"].default: body for body in get_args(AnyBody)
}

__all__ = ["FAMILIES", "AnyBody", "BaseBody", "Body"]
