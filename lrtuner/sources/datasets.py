"""The datasets that come with lrtuner, or with what it is installed with."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lrtuner.sources.config import Config, NoArgs, Targets


class Digits(Config):
    """1,797 grey images of handwritten digits, 8 x 8, ten classes (scikit-learn's copy)."""

    source: Literal["builtin"] = "builtin"
    name: Literal["digits"] = "digits"
    args: NoArgs = NoArgs()

    provides: ClassVar[frozenset[str]] = frozenset({"features", "images"})
    targets: ClassVar[Targets] = "classes"
    num_examples: ClassVar[int | None] = 1797


class DigitSegments(Config):
    """The same images; which of the seven segments of a display show the digit, each a label."""

    source: Literal["builtin"] = "builtin"
    name: Literal["digit_segments"] = "digit_segments"
    args: NoArgs = NoArgs()

    provides: ClassVar[frozenset[str]] = frozenset({"features", "images"})
    targets: ClassVar[Targets] = "labels"
    num_examples: ClassVar[int | None] = 1797


class BreastCancer(Config):
    """569 tumours with 30 measured features, two classes (scikit-learn's copy)."""

    source: Literal["builtin"] = "builtin"
    name: Literal["breast_cancer"] = "breast_cancer"
    args: NoArgs = NoArgs()

    provides: ClassVar[frozenset[str]] = frozenset({"features"})
    targets: ClassVar[Targets] = "classes"
    num_examples: ClassVar[int | None] = 569


class Wine(Config):
    """178 wines with 13 measured features, three classes (scikit-learn's copy)."""

    source: Literal["builtin"] = "builtin"
    name: Literal["wine"] = "wine"
    args: NoArgs = NoArgs()

    provides: ClassVar[frozenset[str]] = frozenset({"features"})
    targets: ClassVar[Targets] = "classes"
    num_examples: ClassVar[int | None] = 178


class Diabetes(Config):
    """442 patients with 10 measured features; how the disease went on, a number to predict.

    Features and number are standardised by the training split. scikit-learn's copy.
    """

    source: Literal["builtin"] = "builtin"
    name: Literal["diabetes"] = "diabetes"
    args: NoArgs = NoArgs()

    provides: ClassVar[frozenset[str]] = frozenset({"features"})
    targets: ClassVar[Targets] = "values"
    num_examples: ClassVar[int | None] = 442


class TextArgs(Config):
    """Characters read in all, and characters per example (the model's context)."""

    max_chars: Annotated[int, Field(ge=10_000, le=50_000_000)] = 500_000
    context_length: Annotated[int, Field(ge=8, le=1024)] = 64


class PythonStdlibText(Config):
    """Source text of the Python standard library on the worker's machine, as characters."""

    source: Literal["builtin"] = "builtin"
    name: Literal["python_stdlib_text"] = "python_stdlib_text"
    args: TextArgs = TextArgs()

    provides: ClassVar[frozenset[str]] = frozenset({"tokens"})
    targets: ClassVar[Targets] = "tokens"
    num_examples: ClassVar[int | None] = None


# The one line that a new built-in dataset adds itself to.
BuiltinDataset = Digits | DigitSegments | BreastCancer | Wine | Diabetes | PythonStdlibText
