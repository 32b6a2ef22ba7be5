"""The builders behind the names in `lrtuner.sources`: one module and one line each."""

from collections.abc import Callable
from typing import Any

from torch import nn

from lrtuner.sources import Config, PathFile, Upload, datasets, models
from worker.data import Data
from worker.sources import convnet, files, gpt, mlp, python_stdlib_text, tabular

# build(config, data) -> model, initialised from torch's global generator
MODELS: dict[type[Config], Callable[[Any, Data], nn.Module]] = {
    models.Mlp: mlp.build,
    models.Convnet: convnet.build,
    models.Gpt: gpt.build,
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
}
