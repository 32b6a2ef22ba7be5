"""The trainers of this machine: processes of their own where there is more than one."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from lrtuner.job import JobSpec
from worker.remote import RemoteTask
from worker.rules import Rules
from worker.runners.machine import room_on_gpu
from worker.runners.pool import Pool
from worker.runners.runner import InTurn, Runner
from worker.runners.slot import Slot
from worker.sandboxed import starter
from worker.serve import ordered


@contextmanager
def local(rules: Rules, spec: JobSpec, device: torch.device, slots: int) -> Iterator[Runner | None]:
    """Who trains the job: so many slots, or sandboxes; None where this process does, alone.

    Raises:
        JobFailedError: see `worker.sandboxed.starter` and `RemoteTask`.
    """
    with starter(rules, spec, device) as sandboxed:
        if not sandboxed and slots == 1:
            yield None
            return
        start = sandboxed or partial(RemoteTask, spec, partial(Slot, ordered(spec, str(device))))
        with start() as first:
            if slots == 1:
                yield InTurn(first)
                return
            room = None if device.type == "cpu" else room_on_gpu(slots)
            pool = Pool(first, start, slots, room)
            try:
                yield pool
            finally:
                pool.close()
