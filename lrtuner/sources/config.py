"""What every config of a source has in common."""

from typing import Literal

from lrtuner.strict import Strict

Targets = Literal["classes", "tokens", "labels", "values", "inputs"]
"""What a model is to give for an example: one of several classes, the next token at each place, any
of several labels, numbers, or the example itself."""

ANYTHING = frozenset({"features", "images", "tokens"})
"""What a file may provide, and what code may accept; the service or the worker looks into it."""


class Config(Strict):
    """Something that may be asked for."""


class NoArgs(Config):
    """Nothing to set."""
