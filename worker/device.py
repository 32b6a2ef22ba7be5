"""Where it runs: the device, one thread per CPU process, determinism, and the versions."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import torch

from lrtuner import __version__
from lrtuner.errors import InvalidInputError
from lrtuner.evidence import Environment


def choose_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        InvalidInputError: no such device exists here; the message names those that do.
    """
    if name == "auto":
        return torch.device(_available()[-1])
    kind, _, index = name.partition(":")
    available = _available()
    if kind not in available or (index and not 0 <= int(index) < torch.cuda.device_count()):
        raise InvalidInputError(
            f"LRTUNER_DEVICE={name}: no such device here; available: {', '.join(available)}"
        )
    return torch.device(name)


def prepare(device: torch.device) -> None:
    """One thread, deterministic kernels.

    Several threads on small models lose under contention, and sum in another order; processes are
    the way to use more cores.
    """
    torch.set_num_threads(1)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)


def environment(
    device: torch.device, dataset_digest: str, libraries: Iterable[str] = ()
) -> Environment:
    """The versions and the device that the numbers of a job come from.

    `libraries` are those that its model or its data come from.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        optuna=version("optuna"),
        lrtuner=__version__,
        platform=platform.system(),
        device=f"{device} ({name})",
        threads=torch.get_num_threads(),
        dataset_digest=dataset_digest,
        libraries={name: found for name in libraries if (found := _version(name))},
    )


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _available() -> list[str]:
    # the preferred one last
    names = ["cpu"]
    if torch.backends.mps.is_available():
        names.append("mps")
    if torch.cuda.is_available():
        names.append("cuda")
    return names
