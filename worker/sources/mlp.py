"""A fully connected network."""

from torch import nn

from lrtuner.sources.models import Mlp
from worker.data import Data

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def build(config: Mlp, data: Data) -> nn.Module:
    """Flatten, then linear layers with the activation and dropout between them."""
    args = config.args
    width = data.train.inputs[0].numel()
    layers: list[nn.Module] = [nn.Flatten()]
    for hidden in args.hidden:
        layers += [nn.Linear(width, hidden), _ACTIVATIONS[args.activation]()]
        if args.dropout:
            layers.append(nn.Dropout(args.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, data.num_outputs))
