"""The two kinds of documents: what comes in is checked strictly, what was measured is kept."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen model that refuses unknown fields, NaN, infinity and silent type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Record(BaseModel):
    """A frozen piece of evidence. Non-finite numbers are null: JSON has no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid")
