"""A small convolutional network."""

from torch import nn

from lrtuner.sources.models import Convnet
from worker.data import Data


def build(config: Convnet, data: Data) -> nn.Module:
    """3x3 convolutions, batch norm, ReLU; halved while larger than 2; mean-pooled; linear."""
    args = config.args
    in_channels, size = data.train.inputs.shape[1], min(data.train.inputs.shape[2:])
    layers: list[nn.Module] = []
    for channels in args.channels:
        layers += [
            nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        if size > 2:
            layers.append(nn.MaxPool2d(2))
            size //= 2
        in_channels = channels
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if args.dropout:
        layers.append(nn.Dropout(args.dropout))
    return nn.Sequential(*layers, nn.Linear(in_channels, data.num_outputs))
