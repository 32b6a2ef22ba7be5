"""The data sets that scikit-learn carries: digits, breast cancer, wine, diabetes."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrtuner.sources import split_sizes
from lrtuner.sources.datasets import BreastCancer, Diabetes, Digits, DigitSegments, Wine
from worker.data import Data, Split

# segments a (top) to g (middle), clockwise, of the digits 0 to 9
_SEGMENTS = (
    "abcdef",
    "bc",
    "abdeg",
    "abcdg",
    "bcfg",
    "acdfg",
    "acdefg",
    "abc",
    "abcdefg",
    "abcdfg",
)


def digits(_config: Digits, seed: int) -> Data:
    """Images 1 x 8 x 8 with values in 0..1."""
    images, targets = _loaded("digits")
    return _split(_pixels(images), _classes(targets), seed, int(targets.max()) + 1)


def digit_segments(_config: DigitSegments, seed: int) -> Data:
    """The same images, each with seven labels that are 0 or 1."""
    images, targets = _loaded("digits")
    shown = np.array([[segment in digit for segment in "abcdefg"] for digit in _SEGMENTS])
    return _split(_pixels(images), shown[targets].astype(np.float32), seed, shown.shape[1])


def breast_cancer(_config: BreastCancer, seed: int) -> Data:
    """30 features, standardised by the training split."""
    inputs, targets = _loaded("breast_cancer")
    return _standardised(_split(inputs, _classes(targets), seed, int(targets.max()) + 1))


def wine(_config: Wine, seed: int) -> Data:
    """13 features, standardised by the training split."""
    inputs, targets = _loaded("wine")
    return _standardised(_split(inputs, _classes(targets), seed, int(targets.max()) + 1))


def diabetes(_config: Diabetes, seed: int) -> Data:
    """10 features and the number to predict, standardised by the training split."""
    inputs, targets = _loaded("diabetes", scaled=False)
    values = targets[:, None].astype(np.float32)
    data = _standardised(_split(inputs, values, seed, 1))
    mean, deviation = _moments(data.train.targets)
    splits = (
        Split(split.inputs, (split.targets - mean) / deviation)
        for split in (data.train, data.validation, data.test)
    )
    return Data(1, *splits)


def _loaded(name: str, **how: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """The inputs and targets; scikit-learn is imported here because that takes seconds."""
    from sklearn import datasets  # noqa: PLC0415

    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True, **how)
    return inputs, targets


def _pixels(images: NDArray[Any]) -> NDArray[Any]:
    scaled: NDArray[Any] = images.reshape(-1, 1, 8, 8) / 16.0
    return scaled


def _classes(targets: NDArray[Any]) -> NDArray[Any]:
    return targets.astype(np.int64)


def _split(inputs: NDArray[Any], targets: NDArray[Any], seed: int, num_outputs: int) -> Data:
    order = np.random.default_rng(seed).permutation(len(inputs))
    num_train, num_validation, _ = split_sizes(len(inputs))
    parts = np.split(order, [num_train, num_train + num_validation])
    splits = [
        Split(torch.from_numpy(inputs[part].astype(np.float32)), torch.from_numpy(targets[part]))
        for part in parts
    ]
    return Data(num_outputs, *splits)


def _standardised(data: Data) -> Data:
    mean, deviation = _moments(data.train.inputs)
    splits = (
        Split((split.inputs - mean) / deviation, split.targets)
        for split in (data.train, data.validation, data.test)
    )
    return Data(data.num_outputs, *splits)


def _moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return values.mean(dim=0), values.std(dim=0).clamp_min(1e-6)
