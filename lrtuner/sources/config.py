"""What every config of a source has in common."""

from typing import ClassVar, Literal

from lrtuner.strict import Strict

Targets = Literal["classes", "tokens", "labels", "values", "inputs"]
"""What a model is to give for an example: one of several classes, the next token at each place, any
of several labels, numbers, or the example itself."""

ANYTHING = frozenset({"features", "images", "tokens"})
"""What a file may provide, and what code may accept; the service or the worker looks into it."""


class Config(Strict):
    """Something that may be asked for.

    `libraries` are what it is made with, beside PyTorch: their versions belong to the evidence.
    `reads_files` says whether a model is made of files on the worker's machine.
    """

    libraries: ClassVar[tuple[str, ...]] = ()
    reads_files: ClassVar[bool] = False


class NoArgs(Config):
    """Nothing to set."""
