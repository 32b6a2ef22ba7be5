"""The two kinds of documents: what comes in is checked strictly, what was measured is kept."""

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A frozen model that refuses unknown fields, NaN, infinity and silent type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Record(BaseModel):
    """A frozen piece of evidence. Non-finite numbers are null: JSON has no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def does_not_fit(field: str, message: str) -> PydanticCustomError:
    """An error of a whole object that still names its field (dotted, from there) in `ctx`."""
    return PydanticCustomError("does_not_fit", "{problem}", {"problem": message, "field": field})
