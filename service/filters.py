"""Jobs by name and labels, as lists and `latest` take them."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lrtuner.job import Key, Text, Value
from service.dependencies import Parameters, parameter_error
from service.wording import shown

_LABELS = TypeAdapter(dict[Key, Value])


class Labelled(Parameters):
    """Which jobs are meant, by name and labels."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[Text | None, Field(description="Exactly this name.")] = None

    @classmethod
    def is_free_form(cls, name: str) -> bool:
        """`metadata[KEY]=VALUE` filters by a label."""
        return name.startswith("metadata[") and name.endswith("]")

    @property
    def labels(self) -> dict[str, str]:
        """The labels to filter by."""
        given = self.model_extra or {}
        return {name.removeprefix("metadata[")[:-1]: value for name, value in given.items()}

    @model_validator(mode="after")
    def _labels_can_be(self) -> Self:
        for key, value in self.labels.items():
            try:
                _LABELS.validate_python({key: value})
            except ValidationError as error:
                reason = f"{shown(value)} cannot be a label: {error.errors()[0]['msg']}"
                raise parameter_error(f"metadata[{key}]", reason) from None
        return self
