"""What may be asked for: one config class per model and dataset, and what fits what.

A config class says names, arguments and ranges; the worker holds the builder of the same name.

    config     what all configs have in common
    models     the built-in models;    datasets   the built-in datasets
    files      uploads and files below the data root
    code       code that builds model and data itself
    libraries  models of transformers, timm and torchvision; datasets that were saved to disk
"""

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from lrtuner.sources.code import Code, Entrypoint, OwnData
from lrtuner.sources.config import Config, NoArgs, Targets
from lrtuner.sources.datasets import BuiltinDataset
from lrtuner.sources.files import PathFile, Upload
from lrtuner.sources.libraries import HuggingFace, Timm, Torchvision, Transformers
from lrtuner.sources.models import BuiltinModel, Gpt

__all__ = [
    "DATASETS",
    "MODELS",
    "AnyDataset",
    "AnyModel",
    "Code",
    "Config",
    "DatasetSource",
    "Entrypoint",
    "HuggingFace",
    "ModelSource",
    "NoArgs",
    "OwnData",
    "PathFile",
    "Targets",
    "Timm",
    "Torchvision",
    "Transformers",
    "Upload",
    "mismatch",
    "split_sizes",
]


def _builtin_if_left_out(value: Any) -> Any:
    """What names no source is built in."""
    return {"source": "builtin", **value} if isinstance(value, dict) else value


# The two lines that a new source adds itself to, beside its line in `worker.sources`.
AnyModel = BuiltinModel | Code | Entrypoint | Transformers | Timm | Torchvision
AnyDataset = BuiltinDataset | Upload | PathFile | OwnData | HuggingFace

ModelSource = Annotated[
    Annotated[BuiltinModel, Field(discriminator="name")]
    | Code
    | Entrypoint
    | Transformers
    | Timm
    | Torchvision,
    Field(discriminator="source"),
    BeforeValidator(_builtin_if_left_out),
]
DatasetSource = Annotated[
    Annotated[BuiltinDataset, Field(discriminator="name")]
    | Upload
    | PathFile
    | OwnData
    | HuggingFace,
    Field(discriminator="source"),
    BeforeValidator(_builtin_if_left_out),
]

MODELS: dict[str, type[BuiltinModel]] = {
    model.model_fields["name"].default: model for model in get_args(BuiltinModel)
}
DATASETS: dict[str, type[BuiltinDataset]] = {
    dataset.model_fields["name"].default: dataset for dataset in get_args(BuiltinDataset)
}


def mismatch(model: AnyModel, dataset: AnyDataset) -> str | None:
    """Why `model` cannot train on `dataset`, with what would; None when it can."""
    return _untrainable(model, dataset) or _unteachable(model, dataset)


def _untrainable(model: AnyModel, dataset: AnyDataset) -> str | None:
    """Why `model` cannot take the inputs of `dataset`."""
    if model.accepts & dataset.provides:
        return None
    fitting = sorted(name for name, d in DATASETS.items() if d.provides & model.accepts)
    return (
        f"model {model.name or model.source!r} trains on {_either(model.accepts)}, but dataset "
        f"{dataset.name!r} provides {_either(dataset.provides)}; "
        f"datasets that fit: {', '.join(fitting)}"
    )


def _unteachable(model: AnyModel, dataset: AnyDataset) -> str | None:
    """Why `model` cannot learn the targets of `dataset`, where both are known."""
    if not isinstance(model, Gpt | Transformers | Timm | Torchvision) or not dataset.targets:
        return None
    if dataset.targets in model.learns:
        return None
    learned = _either(frozenset(model.learns))
    return (
        f"model {model.name or model.source!r} learns {learned}, but the targets of dataset "
        f"{dataset.name!r} are {dataset.targets}"
    )


def split_sizes(num_examples: int) -> tuple[int, int, int]:
    """How many examples train, validate and test: 70 %, 15 % and the rest."""
    train = round(num_examples * 0.7)
    validation = round(num_examples * 0.15)
    return train, validation, num_examples - train - validation


def _either(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds))
