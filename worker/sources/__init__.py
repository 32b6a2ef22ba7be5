"""The builders behind the names in `lrtuner.sources`: one module and one line each."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from lrtuner.sources import (
    Config,
    HuggingFace,
    PathFile,
    Timm,
    Torchvision,
    Transformers,
    Upload,
    datasets,
    models,
)
from worker.data import Data
from worker.sources import (
    convnet,
    files,
    gpt,
    huggingface,
    mlp,
    python_stdlib_text,
    tabular,
    timm,
    torchvision,
    transformers,
)

# build(config, data) -> model, initialised from torch's global generator
MODELS: dict[type[Config], Callable[[Any, Data], nn.Module]] = {
    models.Mlp: mlp.build,
    models.Convnet: convnet.build,
    models.Gpt: gpt.build,
    Transformers: transformers.build,
    Timm: timm.build,
    Torchvision: torchvision.build,
}

# notes(config, data) -> what one should know of the model; refuses one that does not fit the data
NOTES: dict[type[Config], Callable[[Any, Data], Sequence[str]]] = {
    Transformers: transformers.notes,
    Timm: timm.notes,
    Torchvision: torchvision.notes,
}

# build(config, seed) -> data on the CPU, split by the seed
DATASETS: dict[type[Config], Callable[[Any, int], Data]] = {
    datasets.Digits: tabular.digits,
    datasets.DigitSegments: tabular.digit_segments,
    datasets.BreastCancer: tabular.breast_cancer,
    datasets.Wine: tabular.wine,
    datasets.Diabetes: tabular.diabetes,
    datasets.PythonStdlibText: python_stdlib_text.build,
    Upload: files.upload,
    PathFile: files.path,
    HuggingFace: huggingface.build,
}
