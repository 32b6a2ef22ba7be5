"""Schedules as pure functions of time.

`grammar.Schedule` is peak x [warmup] body [cooldown] with a floor: the one evaluator. A *family* is
a body: one file here with its formula, plus its name in `AnyBody` below. `plateau` alone is no
function of time: it reacts to a metric, and is a document of its own kind.
"""

from typing import Annotated, get_args

from pydantic import Field

from lrtuner.schedules._base import BaseBody
from lrtuner.schedules.constant import Constant
from lrtuner.schedules.cosine import Cosine
from lrtuner.schedules.cosine_restarts import CosineRestarts
from lrtuner.schedules.cyclic import Cyclic
from lrtuner.schedules.exponential import Exponential
from lrtuner.schedules.inverse_power import InversePower
from lrtuner.schedules.inverse_time import InverseTime
from lrtuner.schedules.multistep import Multistep
from lrtuner.schedules.polynomial import Polynomial
from lrtuner.schedules.step import Step
from lrtuner.schedules.table import Table

# The one line that a new family adds itself to.
AnyBody = (
    Constant
    | Polynomial
    | Cosine
    | CosineRestarts
    | Exponential
    | Step
    | Multistep
    | InverseTime
    | InversePower
    | Cyclic
    | Table
)

Body = Annotated[AnyBody, Field(discriminator="family")]

FAMILIES: dict[str, type[AnyBody]] = {
    body.model_fields["family"].default: body for body in get_args(AnyBody)
}

SEARCHED = tuple(name for name, body in FAMILIES.items() if body.searched)
"""The families that a search may propose."""

__all__ = ["FAMILIES", "SEARCHED", "AnyBody", "BaseBody", "Body"]
