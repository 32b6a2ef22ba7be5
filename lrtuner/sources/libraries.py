"""Models of libraries, and datasets that one of them saved: named here, brought by the worker."""

import math
import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lrtuner.datasets.folder import RelativePath
from lrtuner.sources.config import Config, Targets
from lrtuner.strict import does_not_fit


def _written(pattern: str, told: str) -> AfterValidator:
    """Refuse a text of another form, and say which it must have."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"it must be {told}")
        return text

    return AfterValidator(check)


RepoId = Annotated[
    str,
    Field(max_length=200),
    _written(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", "a model of the hub: org/model"),
]
"""What the Hugging Face hub calls a model: `org/model`."""


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Refuse whatever could name code, a file or an address."""
    for name, value in settings.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
            raise does_not_fit(name, "its name must be lower-case letters, digits and _")
        if not _is_plain(value):
            told = "a number, true or false, null, a word in lower case or a list of whole numbers"
            raise does_not_fit(name, f"it must be {told}")
    return settings


def _is_plain(value: Any) -> bool:
    match value:
        case str():
            return bool(re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", value))
        case float():
            return math.isfinite(value)
        case list():
            return len(value) <= 64 and all(type(item) is int for item in value)
        case _:
            return value is None or isinstance(value, int)  # bool is one


Settings = Annotated[dict[str, Any], Field(max_length=64), AfterValidator(_plain)]
"""Plain values by name."""

Weights = Literal["pretrained", "random"]
Column = Annotated[str, Field(min_length=1, max_length=200)]

_FROM_THE_DATA = frozenset({"num_labels", "id2label", "label2id", "problem_type", "num_classes"})
_LOADING = frozenset(
    {"pretrained", "checkpoint_path", "cache_dir", "progress", "weights", "weights_backbone"}
    | {"features_only", "scriptable", "exportable", "no_jit", "in_chans"}
)


class Checkpoint(Config):
    """A folder below the operator's data root, or a model in the worker's Hugging Face cache."""

    path: RelativePath | None = None
    name: RepoId | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.path and self.name:
            raise does_not_fit("name", "give either path or name, not both")
        return self


class Tokenizer(Checkpoint):
    """A tokenizer as transformers saves it, by itself or beside a model."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.path or self.name):
            raise does_not_fit("path", "say where it lies: path, or name")
        return self


class TransformersArgs(Config):
    """`config`: values of the model's configuration, by their names there.

    With `model_type` among them it is a whole one, and no path or name is needed.
    """

    config: Settings = {}

    @model_validator(mode="after")
    def _harmless(self) -> Self:
        for name, value in self.config.items():
            field = f"config.{name}"
            if name in _FROM_THE_DATA:
                raise does_not_fit(field, "it comes from the dataset")
            words = name == "model_type" or "activation" in name or name.endswith("_act")
            if isinstance(value, str) and not words:
                told = "only model_type and activations are words, other values are numbers"
                raise does_not_fit(field, told)
            if "backbone" in name or "pretrained" in name:
                raise does_not_fit(field, "it would load another model")
        return self


class Transformers(Checkpoint):
    """A model of Hugging Face transformers, from its folder, the local cache, or a configuration.

    Nothing is fetched from the network, no code of a checkpoint is run, and weights are read from
    safetensors only.
    """

    source: Literal["transformers"]
    task: Literal["causal_lm", "sequence_classification", "image_classification"]
    weights: Weights = "pretrained"
    args: TransformersArgs = TransformersArgs()

    libraries: ClassVar[tuple[str, ...]] = ("transformers",)

    @property
    def reads_files(self) -> bool:  # type: ignore[override] # of the class for others
        """Whether there is a folder."""
        return bool(self.path or self.name)

    @property
    def accepts(self) -> frozenset[str]:
        """What it trains on."""
        return frozenset({"images" if self.task == "image_classification" else "tokens"})

    @property
    def learns(self) -> frozenset[Targets]:
        """What it can be taught."""
        return frozenset({"tokens"} if self.task == "causal_lm" else {"classes", "values"})

    @model_validator(mode="after")
    def _has_an_architecture(self) -> Self:
        named, placed = "model_type" in self.args.config, bool(self.path or self.name)
        if named and placed:
            told = f"the architecture is that of {self.path or self.name}: leave it out"
            raise does_not_fit("args.config.model_type", told)
        if not named and not placed:
            told = "say where the model lies: path or name, or give args.config with a model_type"
            raise does_not_fit("path", told)
        if named and self.weights == "pretrained":
            raise does_not_fit("weights", "without path or name there are only 'random' ones")
        return self


class LibraryModel(Config):
    """A model of images that a library builds by name; its head and channels are of the data.

    Pretrained weights are those of the safetensors file at `path` below the operator's data root,
    or what the library has in its cache on the worker's machine.
    """

    weights: Weights = "random"
    path: RelativePath | None = None
    args: Settings = {}

    accepts: ClassVar[frozenset[str]] = frozenset({"images"})
    learns: ClassVar[frozenset[Targets]] = frozenset({"classes", "values", "labels"})

    @property
    def reads_files(self) -> bool:  # type: ignore[override] # of the class for others
        """Whether its weights are those of a file."""
        return self.weights == "pretrained"

    @model_validator(mode="after")
    def _harmless(self) -> Self:
        for name in self.args:
            if name in _FROM_THE_DATA or name in _LOADING or name.startswith("pretrained"):
                told = "it is not for a job to say: it comes from the dataset or from weights"
                raise does_not_fit(f"args.{name}", told)
        if self.path and self.weights == "random":
            raise does_not_fit("weights", "'random', but there is a path: say 'pretrained'")
        return self


class Timm(LibraryModel):
    """A model of timm; `args` are handed to `timm.create_model`."""

    source: Literal["timm"]
    name: Annotated[
        str,
        Field(max_length=100),
        _written(
            r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)?", "lower-case letters, digits and _ (timm's name)"
        ),
    ]

    libraries: ClassVar[tuple[str, ...]] = ("timm", "torchvision")


class Torchvision(LibraryModel):
    """A classification model of torchvision; `args` are handed to its builder."""

    source: Literal["torchvision"]
    name: Annotated[
        str,
        Field(max_length=100),
        _written(r"[a-z][a-z0-9_]*", "lower-case letters, digits and _ (torchvision's name)"),
    ]

    libraries: ClassVar[tuple[str, ...]] = ("torchvision",)


class HuggingFaceArgs(Config):
    """Which columns, and how texts become tokens.

    One of `text`, `inputs` (tokens: lists of whole numbers) and `image` is what a model gets.
    `target` is `label` if left out. Language modelling joins the rows and cuts them into examples
    of `context_length` tokens; with a `target` (tokens again, -100 where nothing is learned) each
    row is an example of its own. Examples are cut at `max_length` tokens, and padded to the longest
    with the padding token of `tokenizer`. Images are resized to squares of `image_size` pixels; if
    left out they must all have the same size.
    """

    task: Literal["classification", "regression", "language_modelling"] = "classification"
    text: Column | None = None
    inputs: Column | None = None
    image: Column | None = None
    target: Column | None = None
    tokenizer: Tokenizer | None = None
    max_length: Annotated[int, Field(ge=2, le=8192)] = 128
    context_length: Annotated[int, Field(ge=2, le=8192)] = 128
    image_size: Annotated[int, Field(ge=4, le=512)] | None = None

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        given = [n for n in ("text", "inputs", "image") if getattr(self, n) is not None]
        if len(given) != 1:
            told = f"one of text, inputs and image, not {' and '.join(given) or 'none'}"
            raise does_not_fit("text", f"name the column that the model gets: {told}")
        if self.text is not None and self.tokenizer is None:
            told = 'a text needs one: {"path": "..."} of a folder below the data root, or {"name"}'
            raise does_not_fit("tokenizer", told)
        if self.task == "language_modelling" and self.image is not None:
            raise does_not_fit("task", "there is no language in images: give text or inputs")
        if self.task == "language_modelling" and self.text and self.target:
            told = "the target of a text is its next token; a column of targets goes with inputs"
            raise does_not_fit("target", told)
        return self


_TARGETS: dict[str, Targets] = {
    "classification": "classes",
    "regression": "values",
    "language_modelling": "tokens",
}


class HuggingFace(Config):
    """A dataset that `save_to_disk` wrote below the operator's data root, with its splits or one.

    Read as the Arrow files that it is: no loading script, no network.
    """

    source: Literal["huggingface"]
    path: RelativePath
    args: HuggingFaceArgs

    num_examples: ClassVar[int | None] = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.path

    @property
    def provides(self) -> frozenset[str]:
        """What a model gets."""
        return frozenset({"tokens" if self.args.image is None else "images"})

    @property
    def targets(self) -> Targets:
        """What is learned."""
        return _TARGETS[self.args.task]

    @property
    def libraries(self) -> tuple[str, ...]:  # type: ignore[override] # of the class for the others
        """What reads it."""
        return ("pyarrow", "transformers") if self.args.tokenizer else ("pyarrow",)
