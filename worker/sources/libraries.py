"""What the models of libraries have in common: where their files are, and what of them is taken."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lrtuner.errors import JobFailedError
from worker.data import Data
from worker.settings import Settings

_MOST_NAMED = 6


def below_root(relative: str, field: str) -> Path:
    """What lies at `relative` below the operator's data root, with every link followed.

    Raises:
        JobFailedError: there is no data root, nothing there, or it leads out.
    """
    root = Settings().data_root
    if root is None:
        raise JobFailedError(f"{field}: this worker has no data root (LRTUNER_DATA_ROOT)")
    root = root.resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise JobFailedError(f"{field}: {relative!r} leads out of the data root")
    if not path.exists():
        raise JobFailedError(f"{field}: there is no {relative!r} below the data root")
    return path


def missing(library: str, error: Exception, field: str = "model.source") -> JobFailedError:
    """What to say where `library` cannot be imported."""
    if isinstance(error, ImportError):
        extra = "datasets" if library == "pyarrow" else library
        told = f"{library} is not installed where the worker runs: pip install 'lrtuner[{extra}]'"
        return JobFailedError(f"{field}: {told}")
    told = f"{library} is installed, but cannot be imported: {first_line(error)}"
    return JobFailedError(f"{field}: {told}; it must be made for this build of PyTorch")


def first_line(error: Exception) -> str:
    """The start of what an error of a library says."""
    told = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return (told or type(error).__name__)[:300]


@dataclass(frozen=True)
class Pretrained:
    """Weights by the names of a model's parameters and buffers, and those that it makes anew."""

    weights: Mapping[str, Tensor]
    anew: tuple[str, ...]

    def lay_over(self, model: nn.Module) -> nn.Module:
        """The model with these weights in the place of its own."""
        model.load_state_dict(self.weights, strict=False)
        return model

    def note(self, where: str) -> str:
        """What came from `where` and what did not."""
        told = f"model: the weights are those of {where}"
        if not self.anew:
            return told
        return f"{told}, but for what is made anew by the seed: {listed(self.anew)}"


def of_file(weights: Mapping[str, Tensor], model: nn.Module, where: str) -> Pretrained:
    """Those of a file that fit `model` by name and shape.

    Raises:
        JobFailedError: less than half of the model is among them: they are another model's.
    """
    own = model.state_dict()
    fitting = {n: w for n, w in weights.items() if n in own and w.shape == own[n].shape}
    if 2 * len(fitting) < len(own):
        told = f"only {len(fitting)} of the model's {len(own)} weights have their like in {where}"
        raise JobFailedError(f"model.path: {told}")
    return Pretrained(fitting, tuple(name for name in own if name not in fitting))


def listed(names: Iterable[str]) -> str:
    """Some names; of many the first ones and their number."""
    found = sorted(names)
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(found[:_MOST_NAMED]) + more


class Scaled(nn.Module):
    """A model of images that wants each channel less its `mean`, over its `deviation`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: nn.Module, mean: Iterable[float], deviation: Iterable[float]) -> None:
        super().__init__()
        self.model = model
        for name, values in (("mean", mean), ("deviation", deviation)):
            column = torch.tensor(list(values)).view(-1, 1, 1)
            self.register_buffer(name, column, persistent=False)

    def forward(self, images: Tensor) -> Any:
        return self.model((images - self.mean) / self.deviation)


def try_out(model: nn.Module, data: Data) -> None:
    """Let the model see two examples, as in training and as in evaluation.

    It is not to be trained any more: running statistics of its layers have moved.

    Raises:
        JobFailedError: it cannot take them, or gives something of another shape.
    """
    for training in (True, False):
        _see(model.train(training), data)


def _see(model: nn.Module, data: Data) -> None:
    inputs, targets = data.train.inputs[:2], data.train.targets[:2]
    shape = list(inputs.shape[1:])
    try:
        with torch.no_grad():
            outputs = model(inputs)
    except Exception as error:
        told = f"it cannot take inputs of shape {shape}: {type(error).__name__}: "
        raise JobFailedError(f"model: {told}{first_line(error)}") from error
    tokens = targets.dim() == 2 and not targets.is_floating_point()
    leading = tuple(targets.shape) if tokens else (len(inputs),)
    if not isinstance(outputs, Tensor) or outputs.shape[:-1] != leading:
        gives = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise JobFailedError(f"model: it gives {gives} for two inputs of shape {shape}")
    if outputs.shape[-1] < data.num_outputs:
        told = f"it gives {outputs.shape[-1]} numbers, but the data has {data.num_outputs}"
        raise JobFailedError(f"model: {told}")
