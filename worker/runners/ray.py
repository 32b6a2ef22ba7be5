"""Trials as tasks of a Ray cluster: each question to a trainer is one task, wherever there is room.

A task whose node is lost, or whose process dies, is made again with the same seed: it gives the
same answers, and those that were there already are not given twice.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
import torch
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from lrtuner import __version__
from lrtuner.errors import JobFailedError
from lrtuner.evidence import Environment
from lrtuner.job import JobSpec
from worker.failure import OUT_OF_MEMORY, RAISED
from worker.journal import storable
from worker.remote import PROCESS_DIED, RemoteError, RemoteTask
from worker.rules import Rules
from worker.runners import node
from worker.runners.errors import ClusterError, RunnerError
from worker.runners.pool import side_by_side
from worker.runners.runner import Runner
from worker.settings import Settings

RETRIES = 3
"""So often is a task made again whose node was lost or whose process died."""


@contextmanager
def on_cluster(rules: Rules, spec: JobSpec, device: torch.device, slots: int) -> Iterator[Runner]:
    """Who trains the job on the cluster that was joined: so many tasks at a time.

    Raises:
        JobFailedError: see `RayTask`.
    """
    order = {
        "spec": json.loads(spec.model_dump_json(by_alias=True)),
        "rules": rules.model_dump(mode="json"),
        "device": device.type,
    }
    takes = {"num_cpus": 1.0, "num_gpus": 0.0}
    if device.type != "cpu":
        takes = {"num_cpus": 0.0, "num_gpus": Settings().ray_gpus_per_slot}
    with side_by_side(partial(RayTask, spec, Ask(order, **takes)), slots) as runner:
        yield runner


class Ask:
    """A job's way to the cluster: what each of its tasks is given, and where it finds room.

    Args:
        order: see `worker.runners.node.told`.
        resources: what a task takes, as Ray names it.
    """

    def __init__(self, order: dict[str, Any], **resources: float) -> None:
        self._order = json.dumps(order)
        self._digest: str | None = None
        # without `max_calls` a process that has seen a GPU ends after one task
        how = {"num_returns": "streaming", "max_retries": RETRIES, "max_calls": 0, **resources}
        self._remote = ray.remote(**how)(node.told)

    def begin(self, question: dict[str, Any] | None) -> ray.ObjectRefGenerator:
        """The answers as they come."""
        asked = None if question is None else json.dumps(question, allow_nan=False)
        return self._remote.remote(self._order, asked)

    def check(self, message: dict[str, Any]) -> None:
        """Refuse what another version made, or other data.

        Raises:
            RunnerError: it names the node.
        """
        where, version, digest = (message[name] for name in ("node", "lrtuner", "digest"))
        if version != __version__:
            told = f"lrtuner {version} is on the node {where}, and {__version__} here"
            raise RunnerError(f"{told}: install the same version on all")
        self._digest = self._digest or digest
        if digest not in (None, self._digest):
            raise RunnerError(
                f"dataset: the data on the node {where} is not that of the nodes before: it must "
                "be the same on all (LRTUNER_DATA_DIR, LRTUNER_DATA_ROOT)"
            )

    def not_built(self, code: str, told: str) -> JobFailedError:
        """The error where a node could not build the task: of the job, or of that node alone."""
        alone = self._digest is not None and code == JobFailedError.code
        return RunnerError(told) if alone else RemoteError(code, told)


class RayTask(RemoteTask):
    """See `worker.remote.RemoteTask`: any node of the cluster is where it is trained.

    Args:
        spec: the job.
        ask: its way to the cluster.

    Raises:
        JobFailedError: the task could not be built on a node.
        RunnerError: the nodes differ.
    """

    def __init__(self, spec: JobSpec, ask: Ask) -> None:
        def link() -> RayLink:
            found = RayLink(ask)
            self.environment = found.environment
            return found

        super().__init__(spec, link)


class RayLink:
    """See `worker.remote.Link`: the other end is whichever process Ray takes for a question.

    Raises:
        JobFailedError: the task could not be built.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.ended = False
        self._begin(None)
        facts = self._next(1 << 20)["facts"]
        self.environment = Environment.model_validate(facts["environment"])
        self.walls, self.warnings = facts["walls"], facts["warnings"]

    def send(self, message: dict[str, Any]) -> None:
        """See `Link`."""
        self._begin(message)

    def receive(self, largest: int) -> dict[str, Any]:
        """See `Link`."""
        if self._place == 0:
            self._next(largest)
        answer: dict[str, Any] = self._next(largest)["answer"]
        return answer

    def refuse(self, problem: str) -> RemoteError:
        """See `Link`."""
        self.close()
        return RemoteError(PROCESS_DIED, f"what a node answered is not allowed: {problem}")

    def close(self) -> None:
        """See `Link`. Whoever waits for an answer, in another thread, is told that it has ended."""
        self.ended = True
        ray.cancel(self._answers, force=True)

    def _begin(self, question: dict[str, Any] | None) -> None:
        self._answers, self._place = self._ask.begin(question), 0

    def _next(self, largest: int) -> dict[str, Any]:
        try:
            body: bytes = ray.get(next(self._answers))
        except StopIteration:
            raise self.refuse("no further answer") from None
        except RayError as error:
            self.ended = True
            raise _explained(error) from None
        if len(body) > largest:
            raise self.refuse(f"{len(body)} bytes; at most {largest} are allowed")
        message: dict[str, Any] = json.loads(body)
        try:
            self._ask.check(message)
        except RunnerError:
            self.close()
            raise
        if message["place"] != self._place:
            raise self.refuse(f"answer {message['place']} in place of {self._place}")
        self._place += 1
        if "failure" in message:
            failure, where = message["failure"], message["node"]
            raise self._ask.not_built(
                failure["code"], f"{failure['message']} (on the node {where})"
            )
        return message


def _explained(error: RayError) -> Exception:
    """Why a task gave no answer."""
    match error:
        case OutOfMemoryError():
            return RemoteError(OUT_OF_MEMORY, storable(str(error)))
        case TaskCancelledError():
            return RemoteError(PROCESS_DIED, "it was ended")
        case WorkerCrashedError() | NodeDiedError():
            told = f"its process on a node died, {1 + RETRIES} times"
            return RemoteError(PROCESS_DIED, told)
        case RayTaskError():
            return RemoteError(RAISED, storable(str(error.cause)))
    return ClusterError(f"the Ray cluster failed: {storable(str(error))}")
