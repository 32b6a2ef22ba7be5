"""Models of images that a library makes by name: what timm and torchvision have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lrtuner.errors import JobFailedError
from lrtuner.sources.libraries import Timm, Torchvision
from worker.data import Data
from worker.sources.libraries import Pretrained, Scaled, below_root, first_line, of_file, try_out

Named = Timm | Torchvision


class Library(ABC):
    """A library with its own way to make a model."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Every model that it can make."""

    @abstractmethod
    def make(self, name: str, num_outputs: int, channels: int, args: Mapping[str, Any]) -> Any:
        """A new model, initialised from torch's global generator."""

    @abstractmethod
    def cached(self, name: str) -> Path | None:
        """The file with the usual pretrained weights, where it is on this machine already."""

    @abstractmethod
    def scale(self, model: nn.Module) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and deviation of each channel that the pretrained weights want."""


def build(library: Library, config: Named, data: Data) -> nn.Module:
    """The model with as many outputs and input channels as the data has.

    Raises:
        JobFailedError: the library knows no such model or cannot make it, or its weights are not
            on this machine.
    """
    channels = data.train.inputs.shape[1]
    model = _made(library, config, data.num_outputs, channels)
    if config.weights == "random":
        return model
    _pretrained(library, config, model).lay_over(model)
    mean, deviation = library.scale(model)
    return Scaled(model, mean, deviation) if len(mean) == len(deviation) == channels else model


def notes(library: Library, config: Named, data: Data) -> Sequence[str]:
    """What of the model is not from its weights.

    Raises:
        JobFailedError: as `build`, or the model cannot take the data.
    """
    try_out(build(library, config, data), data)
    if config.weights == "random":
        return ()
    model = _made(library, config, data.num_outputs, data.train.inputs.shape[1])
    pretrained = _pretrained(library, config, model)
    where = repr(config.path) if config.path else f"the cache of {config.source}"
    return (pretrained.note(where),) if pretrained.anew else ()


def _made(library: Library, config: Named, num_outputs: int, channels: int) -> nn.Module:
    names = library.names()
    if config.name.partition(".")[0] not in names:
        close = get_close_matches(config.name, names, n=5)
        hint = f"; close ones are {', '.join(close)}" if close else ""
        raise JobFailedError(f"model.name: {config.source} knows no {config.name!r}{hint}")
    try:
        model: nn.Module = library.make(config.name, num_outputs, channels, config.args)
    except Exception as error:
        told = f"{config.source} cannot make {config.name!r}: {type(error).__name__}"
        raise JobFailedError(f"model: {told}: {first_line(error)}") from error
    return model


def _pretrained(library: Library, config: Named, model: nn.Module) -> Pretrained:
    if config.path is not None:
        file = below_root(config.path, "model.path")
        if file.suffix != ".safetensors":
            told = f"{config.path!r} is no .safetensors file; others could run code when read"
            raise JobFailedError(f"model.path: {told}")
        return of_file(_stored(file), model, repr(config.path))
    cached = library.cached(config.name)
    if cached is None:
        told = f"the weights of {config.name!r} are not on this machine, and nothing is fetched"
        raise JobFailedError(f"model.weights: {told}: give model.path, or say 'random'")
    return of_file(_stored(cached), model, str(cached))


@lru_cache(maxsize=1)  # a process trains one job
def _stored(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415 - an extra

            found: dict[str, Tensor] = load_file(file)
        else:  # what torchvision keeps; nothing but tensors is unpickled
            found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        told = f"{file.name} cannot be read: {type(error).__name__}: {first_line(error)}"
        raise JobFailedError(f"model.path: {told}") from error
    return found
