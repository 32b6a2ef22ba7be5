"""Uploads, and files below the operator's data root: read anew for every job."""

from pathlib import Path

import torch

from lrtuner.datasets import Format, Limits, Options, cut, folder, read
from lrtuner.datasets.content import Part
from lrtuner.datasets.inspection import inspected
from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.errors import InvalidDatasetError, JobFailedError, NotFoundError
from lrtuner.sources import PathFile, Upload
from worker.data import Data, Split
from worker.settings import Settings


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
    """The file below `LRTUNER_DATA_ROOT`.

    Raises:
        JobFailedError: there is no data root, the file is not below it, or cannot be used.
    """
    settings = Settings()
    if settings.data_root is None:
        raise JobFailedError("dataset.path: this worker has no data root (LRTUNER_DATA_ROOT)")
    try:
        file = folder.below(settings.data_root, config.path)
    except (NotFoundError, InvalidDatasetError) as error:
        raise JobFailedError(str(error)) from None
    return _data(file, config.kind, config.args, seed, settings)


def _data(file: Path, format: Format, options: Options, seed: int, settings: Settings) -> Data:
    limits = Limits(array_bytes=settings.max_dataset_mb * MEBIBYTE)
    try:
        content = read(file, format, options, limits)
    except InvalidDatasetError as error:
        raise JobFailedError(f"dataset: {error}") from None
    splits = [_split(part) for part in cut.cut(content, seed).values()]
    if content.kind == "features":
        splits = _standardised(splits)
    return Data(content.num_outputs, *splits, found=inspected(format, content))


def _split(part: Part) -> Split:
    # a copy: arrays of a file are read-only views of its bytes
    return Split(torch.tensor(part.inputs), torch.tensor(part.targets))


def _standardised(splits: list[Split]) -> list[Split]:
    """Every input with mean 0 and deviation 1 over the training split."""
    mean = splits[0].inputs.mean(dim=0)
    deviation = splits[0].inputs.std(dim=0).clamp_min(1e-6)
    return [Split((split.inputs - mean) / deviation, split.targets) for split in splits]
