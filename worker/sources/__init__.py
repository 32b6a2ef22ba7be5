"""The builders behind the names in `lrtuner.sources`: one module and one line each."""

from collections.abc import Callable
from typing import Any

from torch import nn

from lrtuner import sources
from worker.data import Data
from worker.sources import convnet, files, gpt, mlp, python_stdlib_text, tabular

# build(config, data) -> model, initialised from torch's global generator
MODELS: dict[type[sources.Config], Callable[[Any, Data], nn.Module]] = {
    sources.Mlp: mlp.build,
    sources.Convnet: convnet.build,
    sources.Gpt: gpt.build,
}

# build(config, seed) -> data on the CPU, split by the seed
DATASETS: dict[type[sources.Config], Callable[[Any, int], Data]] = {
    sources.Digits: tabular.digits,
    sources.DigitSegments: tabular.digit_segments,
    sources.BreastCancer: tabular.breast_cancer,
    sources.Wine: tabular.wine,
    sources.Diabetes: tabular.diabetes,
    sources.PythonStdlibText: python_stdlib_text.build,
    sources.Upload: files.upload,
    sources.PathFile: files.path,
}
