"""What runs on a node of a Ray cluster, in one of its processes: the task, built once, and asked.

A node has folders of its own: LRTUNER_DATA_DIR and LRTUNER_DATA_ROOT are read from its environment.
What code of others may do is told by the worker, and holds here as it does there.
"""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import ray
import torch

from lrtuner import __version__
from lrtuner.job import JobSpec
from lrtuner.settings import without_database
from worker import serve
from worker.device import choose_device, environment, prepare
from worker.failure import explained
from worker.rules import Rules
from worker.sandboxed import trained_in
from worker.settings import Settings
from worker.task import Task, make_task
from worker.trainer import Trainer

Told = dict[str, Any]


def told(order: str, asked: str | None) -> Iterator[bytes]:
    """A task of Ray: the facts of the job's task here, then the answers to a question, as JSON.

    Each carries its place among them, the node, its version of lrtuner, and the digest of its data.

    Args:
        order: the `spec` of the job, the `rules` for code, and the `device`: cpu or cuda.
        asked: the question, see `worker.serve`; None asks for the facts alone.
    """
    here: Told = {"node": platform.node(), "lrtuner": __version__, "digest": None}
    try:
        host = _host(order)
    except Exception as error:  # noqa: BLE001 - anything a model may raise
        yield _message(0, {**here, "failure": explained(error).model_dump()})
        return
    here["digest"] = host.facts["environment"]["dataset_digest"]
    yield _message(0, {**here, "facts": host.facts})
    if asked is None:
        return
    for place, answer in enumerate(serve.answers(lambda: host.task, json.loads(asked)), start=1):
        yield _message(place, {**here, "answer": answer})


def _message(place: int, content: Told) -> bytes:
    return json.dumps({"place": place, **content}, allow_nan=False).encode()


class _Host:
    """The task of a job in this process, in a sandbox where it asks for one."""

    def __init__(self, order: Told, device: torch.device) -> None:
        prepare(device)
        self._open = ExitStack()
        spec = JobSpec.model_validate_json(json.dumps(order["spec"]))
        rules = Rules.model_validate_json(json.dumps(order["rules"]))
        rules = rules.model_copy(update={"data_dir": str(Settings().data_dir.absolute())})
        sandboxed = self._open.enter_context(trained_in(rules, spec, device))
        self.task: Task | Trainer = sandboxed or make_task(spec, device)
        libraries = dict.fromkeys([*spec.model.libraries, *spec.dataset.libraries])
        self.facts: Told = {
            "environment": environment(device, self.task.data.digest(), libraries).model_dump(),
            "walls": list(sandboxed.walls) if sandboxed else [],
            "warnings": list(sandboxed.warnings) if sandboxed else [],
        }

    def close(self) -> None:
        self._open.close()


_hosts: dict[tuple[str, torch.device], _Host] = {}  # at most one


def _host(order: str) -> _Host:
    """The task of the order; that of another one ends here."""
    given = json.loads(order)
    device = _device(given["device"])
    if (order, device) not in _hosts:
        while _hosts:
            _hosts.popitem()[1].close()
        _hosts[order, device] = _Host(given, device)
    return _hosts[order, device]


def _device(name: str) -> torch.device:
    """Where to train: on the GPU that Ray gave to this call, whichever the call before had.

    A process can use those GPUs alone that it saw when it first used one. So it sees all of them,
    and what changes from call to call is the index.
    """
    for each in set(os.environ) - set(without_database(os.environ)):  # no task has a use for it
        del os.environ[each]
    if name == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return torch.device(name)
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    [index] = ray.get_gpu_ids()
    return choose_device(f"{name}:{index}")
