"""A table of factors, one per unit of time: any schedule at all."""

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from lrtuner.errors import UnsupportedError
from lrtuner.schedules._base import HAIR, Array, BaseBody, Factor

MAX_VALUES = 1_000_000


class Table(BaseBody):
    """v(tau) = values[min(floor(tau), n - 1)],  n values, each a factor of the peak.

    For schedules that no formula here describes. The last value holds. It is not searched.
    """

    family: Literal["table"] = "table"
    values: Annotated[
        tuple[Factor, ...],
        Field(
            min_length=1,
            max_length=MAX_VALUES,
            strict=False,
            description="One factor of the peak per unit of time.",
        ),
    ]

    monotone: ClassVar[bool] = False
    searched: ClassVar[bool] = False

    def at(self, tau: Array) -> Array:
        index = np.minimum(np.floor(tau), len(self.values) - 1.0).astype(np.int64)
        return np.array(self.values)[index]

    def statements(self, end: float) -> list[str]:
        needed = self.values[: int(end) + 1]
        return [f"v = {needed!r}[min(math.floor(tau), {len(needed) - 1})]"]

    def stretched(self, ratio: float) -> Self:
        """Each value held `ratio` times as long, to whole units."""
        count = max(round(len(self.values) * ratio), 1)
        if count > MAX_VALUES:
            raise UnsupportedError(f"a table of {count} values; at most {MAX_VALUES} are possible")
        starts = np.floor(np.arange(count) / ratio + HAIR).astype(np.int64)
        kept = np.minimum(starts, len(self.values) - 1)
        values = tuple(np.array(self.values)[kept].tolist())
        return self.model_copy(update={"values": values, "offset": round(self.offset * ratio)})
