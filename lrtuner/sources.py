"""What may be asked for: one config class per model and dataset, and what fits what.

A config class says names, arguments and ranges; the worker holds the builder of the same name.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from lrtuner.datasets import SUFFIXES, Format, Options
from lrtuner.datasets.folder import DatasetId, RelativePath
from lrtuner.strict import Strict, does_not_fit


class Config(Strict):
    """Something that may be asked for."""


# Models -------------------------------------------------------------------------------------------

Width = Annotated[int, Field(ge=1, le=65536)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class MlpArgs(Config):
    """Hidden layer widths, activation between them and dropout after each."""

    hidden: Annotated[list[Width], Field(max_length=32)] = [256, 256]
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    dropout: Probability = 0.0


class Mlp(Config):
    """A fully connected network."""

    source: Literal["builtin"] = "builtin"
    name: Literal["mlp"] = "mlp"
    args: MlpArgs = MlpArgs()

    accepts: ClassVar[frozenset[str]] = frozenset({"features", "images"})


class ConvnetArgs(Config):
    """Channels of each 3x3 convolution (batch norm, ReLU), then pooling and a linear layer."""

    channels: Annotated[
        list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=16)
    ] = [
        16,
        32,
    ]
    dropout: Probability = 0.0


class Convnet(Config):
    """A small convolutional network with batch normalisation for images."""

    source: Literal["builtin"] = "builtin"
    name: Literal["convnet"] = "convnet"
    args: ConvnetArgs = ConvnetArgs()

    accepts: ClassVar[frozenset[str]] = frozenset({"images"})


class GptArgs(Config):
    """Width (a multiple of `num_heads`), layers and heads of a decoder-only transformer."""

    width: Annotated[int, Field(ge=8, le=4096)] = 64
    num_layers: Annotated[int, Field(ge=1, le=64)] = 2
    num_heads: Annotated[int, Field(ge=1, le=64)] = 4
    dropout: Probability = 0.0

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")
        return self


class Gpt(Config):
    """A small character-level transformer decoder for language modelling."""

    source: Literal["builtin"] = "builtin"
    name: Literal["gpt"] = "gpt"
    args: GptArgs = GptArgs()

    accepts: ClassVar[frozenset[str]] = frozenset({"tokens"})


# The one line that a new model adds itself to.
AnyModel = Mlp | Convnet | Gpt
ModelSource = Annotated[AnyModel, Field(discriminator="name")]

# Datasets -----------------------------------------------------------------------------------------


Targets = Literal["classes", "tokens", "labels", "values", "inputs"]
"""What a model is to give for an example: one of several classes, the next token at each place, any
of several labels, numbers, or the example itself."""

ANYTHING = frozenset({"features", "images", "tokens"})
"""What a file may provide; the service or the worker looks into it."""


class NoArgs(Config):
    """Nothing to set."""


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


class File(Config):
    """A file of examples: what it holds is told by looking into it."""

    args: Options = Options()

    provides: ClassVar[frozenset[str]] = ANYTHING
    num_examples: ClassVar[int | None] = None

    @property
    def targets(self) -> Targets:
        """Numbers where the job says so, else classes."""
        return "values" if self.args.task == "regression" else "classes"


class Upload(File):
    """A file that was uploaded, by the hash of its content."""

    source: Literal["upload"]
    id: DatasetId

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.id


class PathFile(File):
    """A file below the operator's data root; `format` is told by its ending if left out."""

    source: Literal["path"]
    path: RelativePath
    format: Format | None = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.path

    @property
    def targets(self) -> Targets:
        """As for any file, but that a text is known by its ending."""
        return "tokens" if self.kind == "text" else super().targets

    @model_validator(mode="after")
    def _has_a_format(self) -> Self:
        if self.format is None and self.suffix not in SUFFIXES:
            known = ", ".join(SUFFIXES)
            raise does_not_fit("path", f"its ending tells no format ({known}); give dataset.format")
        return self

    @property
    def suffix(self) -> str:
        """The ending of the path, in lower case."""
        return PurePosixPath(self.path).suffix.lower()

    @property
    def kind(self) -> Format:
        """The format, told or by the ending."""
        return self.format or SUFFIXES[self.suffix]


def _builtin_if_left_out(value: Any) -> Any:
    """A dataset without a source is a built-in one."""
    return {"source": "builtin", **value} if isinstance(value, dict) else value


AnyDataset = BuiltinDataset | Upload | PathFile
DatasetSource = Annotated[
    Annotated[BuiltinDataset, Field(discriminator="name")] | Upload | PathFile,
    Field(discriminator="source"),
    BeforeValidator(_builtin_if_left_out),
]

MODELS: dict[str, type[AnyModel]] = {m.model_fields["name"].default: m for m in get_args(AnyModel)}
DATASETS: dict[str, type[BuiltinDataset]] = {
    d.model_fields["name"].default: d for d in get_args(BuiltinDataset)
}
FILES: dict[str, type[Upload | PathFile]] = {"upload": Upload, "path": PathFile}

# What fits what -----------------------------------------------------------------------------------


def mismatch(model: AnyModel, dataset: AnyDataset) -> str | None:
    """Why `model` cannot train on `dataset`, with what would; None when it can."""
    return mismatch_of(model, dataset.name, dataset.provides)


def mismatch_of(model: AnyModel, dataset: str, provides: frozenset[str]) -> str | None:
    """The same for a dataset of which it is known what it provides."""
    if model.accepts & provides:
        return None
    fitting = sorted(name for name, d in DATASETS.items() if d.provides & model.accepts)
    return (
        f"model {model.name!r} trains on {_either(model.accepts)}, but dataset {dataset!r} "
        f"provides {_either(provides)}; datasets that fit: {', '.join(fitting)}"
    )


def split_sizes(num_examples: int) -> tuple[int, int, int]:
    """How many examples train, validate and test: 70 %, 15 % and the rest."""
    train = round(num_examples * 0.7)
    validation = round(num_examples * 0.15)
    return train, validation, num_examples - train - validation


def _either(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds))
