"""Examine what a worker needs: `python -m worker.doctor`; JSON on stdout. Nothing is changed."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from lrtuner.diagnosis import Diagnosis, Examination, State, fine, invalid_settings, warned, wrong
from lrtuner.errors import InvalidInputError
from lrtuner.settings import from_environment, variable
from lrtuner.words import plural
from worker.device import choose_device
from worker.runners import machine
from worker.runners.errors import ClusterError
from worker.sandbox.errors import CodeError
from worker.sandbox.limits import Limits
from worker.sandbox.process import Sandbox
from worker.sandbox.walls import not_standing
from worker.settings import Settings

_BEATS_PER_LEASE = 3
_GPU_DEVICES = Path("/dev")
_ENTRY = "operator:is_"  # any function of two arguments: what counts is what stands before it
_WALLS = "the README's section on running code of others says what each wall needs"
_RAY = "the README's section on several machines says how a cluster is started and joined"


def diagnose() -> list[Diagnosis]:
    """All that can be said of this machine as a worker."""
    try:
        settings = from_environment(Settings)
    except InvalidInputError as error:
        return invalid_settings(error)
    trains = on_cluster if settings.runner == "ray" else here
    return [*trains(settings), lease(settings), sandbox(settings), *data_root(settings)]


def here(settings: Settings) -> Iterator[Diagnosis]:
    """This machine, where it is the one that trains."""
    found = device(settings)
    yield found
    yield hardware()
    if found.state is not State.PROBLEM:
        yield slots(settings)


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


def hardware() -> Diagnosis:
    """What there is to train with."""
    cores, gpus = plural(machine.cores(), "core"), plural(torch.cuda.device_count(), "GPU")
    told = f"{cores} for this process, {_gib(machine.free_memory())} of memory free"
    return fine("machine", f"{told}, {gpus} that torch can use")


def slots(settings: Settings) -> Diagnosis:
    """How many runs it would train at a time, and why so many.

    Raises:
        InvalidInputError: there is no such device.
    """
    chosen = choose_device(settings.device)
    asked = None if settings.slots == "auto" else settings.slots
    cores, workers = machine.cores(), settings.workers
    number = machine.slots_for(asked, chosen, workers)
    one = machine.SLOT_BYTES if chosen.type == "cpu" else machine.CONTEXT_BYTES
    free = _free(chosen)
    each = f" in each of {workers} workers" if workers > 1 else ""
    told = f"LRTUNER_SLOTS={settings.slots} means {number}{each}: {plural(cores, 'core')}, "
    told += _memory(chosen, free, asked)
    if workers * number > cores:
        remedy = _fewer(number, cores // workers)
        return warned("slots", f"{told}; more slots than cores gain nothing", remedy)
    if free is not None and workers * number * one > free:
        remedy = _fewer(number, free // one // workers)
        return warned("slots", f"{told}; there is no memory for so many", remedy)
    return fine("slots", told)


def on_cluster(settings: Settings) -> Iterator[Diagnosis]:
    """The Ray cluster: whether it lets this worker in, and how many runs it would train."""
    try:
        from worker.runners import cluster  # noqa: PLC0415 - Ray is an extra
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        told = "LRTUNER_RUNNER=ray, and Ray is not installed"
        yield wrong("ray", told, "pip install 'lrtuner[ray]'")
        return
    try:
        found = cluster.connect(settings.ray_address)
        kind, most = cluster.at_a_time(found, settings.device, settings)
    except ClusterError as error:
        yield wrong("ray", str(error), _RAY)
        return
    has = f"{plural(found.nodes, 'node')} with {plural(found.cpus, 'CPU')} and "
    has += plural(found.gpus, "GPU")
    told = f"{settings.ray_address}: {has}; the token and all versions are those of this machine"
    yield fine("ray", told)
    if found.reports_usage:
        remedy = "start every node with --disable-usage-stats"
        yield warned("ray", "Ray reports to its makers how it is used", remedy)
    number = most // settings.workers if settings.slots == "auto" else settings.slots
    number = max(1, min(number, cluster.MOST_SLOTS))
    told = (
        f"LRTUNER_SLOTS={settings.slots} means {number}: the cluster has room for {most} on {kind}"
    )
    if number * settings.workers <= most:
        yield fine("slots", told)
        return
    yield warned("slots", f"{told}; the others wait", "start more nodes, or set LRTUNER_SLOTS=auto")


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


def _free(device: torch.device) -> int | None:
    """Bytes of memory that are free for what trains there; None where that is not known."""
    if device.type == "cpu":
        return machine.free_memory()
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _memory(device: torch.device, free: int | None, asked: int | None) -> str:
    """Why memory allows so many slots."""
    has = f"{_gib(free)} of memory free" if free is not None else "memory that is not known"
    if device.type == "cpu":
        return f"{has}, {_gib(machine.SLOT_BYTES)} for each"
    if asked is None:
        return f"{has} on {device}, where it is one unless a number is given"
    return f"{has} on {device}, where further ones start if the first run leaves them room"


def _fewer(number: int, most: int) -> str:
    if number > 1:
        return f"set LRTUNER_SLOTS to {max(1, most)} or less, or to auto"
    return "run fewer workers here, or give this machine more"


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.3g} GiB"


def _has_gpu() -> bool:
    return any(_GPU_DEVICES.glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def main() -> int:
    """Print what was found."""
    names = [variable(name) for name in Settings.model_fields]
    sys.stdout.write(Examination(diagnose(), names).text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
