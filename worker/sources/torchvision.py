"""Classification models of torchvision, by name."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn

from worker.sources import vision
from worker.sources.libraries import missing

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of the channels that its weights were trained with (torchvision's docs)."""


class _Torchvision(vision.Library):
    def names(self) -> Sequence[str]:
        models = imported().models
        found: list[str] = models.list_models(module=models)
        return found

    def make(self, name: str, num_outputs: int, channels: int, args: Mapping[str, Any]) -> Any:
        model = imported().models.get_model(name, weights=None, num_classes=num_outputs, **args)
        _take_channels(model, channels)
        return model

    def cached(self, name: str) -> Path | None:
        address = imported().models.get_model_weights(name).DEFAULT.url
        file = PurePosixPath(urlsplit(address).path).name
        path = Path(torch.hub.get_dir()) / "checkpoints" / file
        return path if path.is_file() else None

    def scale(self, model: nn.Module) -> tuple[Sequence[float], Sequence[float]]:  # noqa: ARG002
        return _IMAGENET


def imported() -> Any:
    """The library.

    Raises:
        JobFailedError: it is not installed, or not for this PyTorch.
    """
    try:
        import torchvision  # noqa: PLC0415 - an extra
    except Exception as error:
        raise missing("torchvision", error) from error
    return torchvision


def _take_channels(model: nn.Module, channels: int) -> None:
    """Replace the first convolution by one with so many channels; all models there take three."""
    if channels == 3:
        return
    name, first = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    fresh = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type] # two numbers
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    above, _, last = name.rpartition(".")
    setattr(model.get_submodule(above), last, fresh)


build = partial(vision.build, _Torchvision())
notes = partial(vision.notes, _Torchvision())
