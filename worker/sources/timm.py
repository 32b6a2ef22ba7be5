"""Models of timm, by name."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from worker.sources import vision
from worker.sources.libraries import missing


class _Timm(vision.Library):
    def names(self) -> Sequence[str]:
        found: list[str] = imported().list_models()
        return found

    def make(self, name: str, num_outputs: int, channels: int, args: Mapping[str, Any]) -> Any:
        timm = imported()
        return timm.create_model(name, num_classes=num_outputs, in_chans=channels, **args)

    def cached(self, name: str) -> Path | None:
        config = imported().get_pretrained_cfg(name)
        if not config or not config.hf_hub_id:
            return None
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - comes with timm

        found = try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
        return Path(found) if isinstance(found, str) else None

    def scale(self, model: nn.Module) -> tuple[Sequence[float], Sequence[float]]:
        known: Any = model.pretrained_cfg
        return known["mean"], known["std"]


def imported() -> Any:
    """The library, told to keep to this machine.

    Raises:
        JobFailedError: it is not installed, or not for this PyTorch.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import timm  # noqa: PLC0415 - an extra
    except Exception as error:
        raise missing("timm", error) from error
    return timm


build = partial(vision.build, _Timm())
notes = partial(vision.notes, _Timm())
