"""The runners behind the names that LRTUNER_RUNNER knows.

`python -m worker.runners.chosen` tries the one of the settings, and tells what is wrong with it.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from lrtuner.errors import LRTunerError
from lrtuner.job import JobSpec
from worker.rules import Rules
from worker.runners import machine
from worker.runners.errors import ClusterError
from worker.runners.local import local
from worker.runners.runner import Runner
from worker.settings import Settings

Room = Callable[[str, int | None, int], tuple[torch.device, int]]
"""Given LRTUNER_DEVICE, LRTUNER_SLOTS and LRTUNER_WORKERS: where to train, in how many slots."""

Start = Callable[[Rules, JobSpec, torch.device, int], AbstractContextManager[Runner | None]]
"""Starts who trains the job, in so many slots; None where the job's own process does, alone."""


def _cluster_room(device: str, slots: int | None, workers: int) -> tuple[torch.device, int]:
    try:
        from worker.runners import cluster  # noqa: PLC0415 - Ray is an extra
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ClusterError("LRTUNER_RUNNER=ray needs Ray: pip install 'lrtuner[ray]'") from None
    return cluster.room(device, slots, workers)


def _on_cluster(
    rules: Rules, spec: JobSpec, device: torch.device, slots: int
) -> AbstractContextManager[Runner]:
    from worker.runners.ray import on_cluster  # noqa: PLC0415

    return on_cluster(rules, spec, device, slots)


ROOM: dict[str, Room] = {"local": machine.room, "ray": _cluster_room}
RUNNERS: dict[str, Start] = {"local": local, "ray": _on_cluster}


def main() -> int:
    """Try the runner of the settings; the last line is what is wrong, or what there is."""
    settings = Settings()
    asked = None if settings.slots == "auto" else settings.slots
    try:
        device, slots = ROOM[settings.runner](settings.device, asked, settings.workers)
    except LRTunerError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{settings.runner} trains on {device.type}, {slots} runs at a time\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
