"""Examine what a worker needs: `python -m worker.doctor`; JSON on stdout. Nothing is changed."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from lrtuner.diagnosis import Diagnosis, Examination, fine, invalid_settings, warned, wrong
from lrtuner.errors import InvalidInputError
from lrtuner.settings import from_environment, variable
from worker.device import choose_device
from worker.sandbox.errors import CodeError
from worker.sandbox.limits import Limits
from worker.sandbox.process import Sandbox
from worker.sandbox.walls import not_standing
from worker.settings import Settings

_BEATS_PER_LEASE = 3
_GPU_DEVICES = Path("/dev")
_ENTRY = "operator:is_"  # any function of two arguments: what counts is what stands before it
_WALLS = "the README's section on running code of others says what each wall needs"


def diagnose() -> list[Diagnosis]:
    """All that can be said of this machine as a worker."""
    try:
        settings = from_environment(Settings)
    except InvalidInputError as error:
        return invalid_settings(error)
    found = [device(settings), machine(), lease(settings), sandbox(settings)]
    return [*found, *data_root(settings)]


def device(settings: Settings) -> Diagnosis:
    """Where it would train."""
    build = f"torch {torch.__version__}"
    try:
        chosen = choose_device(settings.device)
        torch.zeros(1, device=chosen).add(1).item()
    except InvalidInputError as error:
        remedy = (
            f"set LRTUNER_DEVICE to one of those, or install a torch that has it (this is {build})"
        )
        return wrong("device", str(error), remedy)
    except RuntimeError as error:
        told = f"{build} cannot compute on {settings.device}: {str(error).partition(os.linesep)[0]}"
        return wrong("device", told, "see that the driver fits this torch: `nvidia-smi` shows it")
    told = f"LRTUNER_DEVICE={settings.device} means {chosen}, {build}"
    if settings.device == "auto" and chosen.type == "cpu" and _has_gpu():
        remedy = "install a torch with CUDA and a driver that fits it, or set LRTUNER_DEVICE=cpu"
        return warned("device", f"{told}; there is a GPU that it cannot use", remedy)
    return fine("device", told)


def machine() -> Diagnosis:
    """What there is to train with."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = torch.cuda.device_count()
    return fine("machine", f"{cores} cores, {gpus} GPUs that torch can use")


def lease(settings: Settings) -> Diagnosis:
    """Whether a worker that lives keeps its job."""
    beat, seconds = settings.heartbeat_seconds, settings.lease_seconds
    told = f"renewed every {beat:g} s, lost after {seconds:g} s"
    if beat * _BEATS_PER_LEASE <= seconds:
        return fine("lease", told)
    remedy = f"set LRTUNER_LEASE_SECONDS to {beat * _BEATS_PER_LEASE:g} or more"
    return (warned if beat < seconds else wrong)("lease", told, remedy)


def data_root(settings: Settings) -> Iterator[Diagnosis]:
    """Whether the folder that jobs may name files in is there."""
    root = settings.data_root
    if root is None:
        return
    if root.is_dir() and os.access(root, os.R_OK | os.X_OK):
        yield fine("data root", f"{root} can be read")
        return
    why = "cannot be read by this user" if root.is_dir() else "is no folder here"
    yield wrong("data root", f"{root} {why}", "mount it here, or set LRTUNER_DATA_ROOT to another")


def sandbox(settings: Settings) -> Diagnosis:
    """Which walls stand around code of others."""
    if not settings.code and not settings.sandbox:
        return fine("sandbox", "not asked for (LRTUNER_CODE, LRTUNER_SANDBOX)")
    try:
        with Sandbox(_ENTRY, {}, limits=Limits()) as started:
            walls, missing = started.walls, started.missing
    except CodeError as error:
        return wrong("sandbox", str(error), _WALLS)
    lacking = not_standing(settings.code_walls, walls)
    if lacking and settings.code:
        reasons = "; ".join(f"{name}: {missing[name]}" for name in missing)
        told = f"uploaded code is not run without {', '.join(lacking)} ({reasons})"
        return wrong("sandbox", told, _WALLS)
    if missing:
        return warned("sandbox", f"it stands without {', '.join(sorted(missing))}", _WALLS)
    return fine("sandbox", f"all {len(walls)} walls stand")


def _has_gpu() -> bool:
    return any(_GPU_DEVICES.glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def main() -> int:
    """Print what was found."""
    names = [variable(name) for name in Settings.model_fields]
    sys.stdout.write(Examination(diagnose(), names).text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
