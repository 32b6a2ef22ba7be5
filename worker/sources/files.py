"""Uploads, and files below the operator's data root: read anew for every job."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrtuner.datasets import Format, Options, cut, folder, folder_format, read
from lrtuner.datasets.content import Part
from lrtuner.datasets.inspection import inspected
from lrtuner.datasets.room import chunks
from lrtuner.errors import InvalidDatasetError, JobFailedError, NotFoundError
from lrtuner.sources import PathFile, Upload
from worker.data import Data, Split
from worker.settings import Settings

_LEAST_DEVIATION = 1e-6


def upload(config: Upload, seed: int) -> Data:
    """The upload, from the data folder that the API shares with its workers.

    Raises:
        JobFailedError: it is not there, has changed, or does not fit the job's arguments.
    """
    settings = Settings()
    try:
        path, format = folder.find_upload(settings.data_dir, config.id)
    except (NotFoundError, InvalidDatasetError) as error:
        raise JobFailedError(f"dataset.id: {error}") from None
    return _data(path, format, config.args, seed, settings)


def path(config: PathFile, seed: int) -> Data:
    """The file or the folder below `LRTUNER_DATA_ROOT`.

    Raises:
        JobFailedError: there is no data root, the file is not below it, or cannot be used.
    """
    settings = Settings()
    if settings.data_root is None:
        raise JobFailedError("dataset.path: this worker has no data root (LRTUNER_DATA_ROOT)")
    try:
        file = folder.below(settings.data_root, config.path)
        format = config.kind or folder_format(file)
    except (NotFoundError, InvalidDatasetError) as error:
        raise JobFailedError(str(error)) from None
    return _data(file, format, config.args, seed, settings)


def _data(file: Path, format: Format, options: Options, seed: int, settings: Settings) -> Data:
    try:
        content = read(file, format, options, settings.dataset_limits)
        found, parts = inspected(format, content), cut.cut(content, seed)
    except InvalidDatasetError as error:
        raise JobFailedError(f"dataset: {error}") from None
    if content.kind == "features":
        _standardise(parts)
    splits = (
        Split(torch.from_numpy(part.inputs), torch.from_numpy(part.targets))
        for part in parts.values()
    )
    return Data(content.num_outputs, *splits, found=found)


def _standardise(parts: Mapping[str, Part]) -> None:
    """Give every input mean 0 and deviation 1 over the training split, in place."""
    mean, deviation = _moments(parts["train"].inputs)
    for part in parts.values():
        for rows in chunks(part.inputs):
            part.inputs[rows] = (part.inputs[rows] - mean) / deviation


def _moments(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Means and deviations of the columns, summed in double precision."""
    zero = np.zeros(values.shape[1:])
    mean = sum((values[r].sum(axis=0, dtype=np.float64) for r in chunks(values)), zero)
    mean = mean / len(values)
    squares = sum((np.square(values[r] - mean).sum(axis=0) for r in chunks(values)), zero)
    deviation = np.sqrt(squares / (len(values) - 1))
    return mean.astype(np.float32), np.maximum(deviation, _LEAST_DEVIATION).astype(np.float32)
