"""The data sets that scikit-learn carries: digits, breast cancer, wine."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets

from lrtuner.sources import BreastCancer, Digits, Wine, split_sizes
from worker.data import Data, Split


def digits(_config: Digits, seed: int) -> Data:
    """Images 1 x 8 x 8 with values in 0..1."""
    images, targets = datasets.load_digits(return_X_y=True)
    return _split(images.reshape(-1, 1, 8, 8) / 16.0, targets, seed)


def breast_cancer(_config: BreastCancer, seed: int) -> Data:
    """30 features, standardised by the training split."""
    inputs, targets = datasets.load_breast_cancer(return_X_y=True)
    return _standardised(inputs, targets, seed)


def wine(_config: Wine, seed: int) -> Data:
    """13 features, standardised by the training split."""
    inputs, targets = datasets.load_wine(return_X_y=True)
    return _standardised(inputs, targets, seed)


def _split(inputs: NDArray[Any], targets: NDArray[Any], seed: int) -> Data:
    order = np.random.default_rng(seed).permutation(len(inputs))
    num_train, num_validation, _ = split_sizes(len(inputs))
    parts = np.split(order, [num_train, num_train + num_validation])
    splits = [
        Split(
            torch.from_numpy(inputs[part].astype(np.float32)),
            torch.from_numpy(targets[part].astype(np.int64)),
        )
        for part in parts
    ]
    return Data(int(targets.max()) + 1, *splits)


def _standardised(inputs: NDArray[Any], targets: NDArray[Any], seed: int) -> Data:
    data = _split(inputs, targets, seed)
    mean = data.train.inputs.mean(dim=0)
    deviation = data.train.inputs.std(dim=0).clamp_min(1e-6)
    splits = (
        Split((split.inputs - mean) / deviation, split.targets)
        for split in (data.train, data.validation, data.test)
    )
    return Data(data.num_outputs, *splits)
