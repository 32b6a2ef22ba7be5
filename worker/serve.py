"""The other end of a remote task: builds it, and answers one question after another.

What is asked: `describe`, `memory`, `one_sweep`, `train_together` (one answer for each run, as it
ends), `compared`, `compare`. An answer carries the number of its question; where the model raised,
there is a `failure` in its place, and nothing further for that question.
"""

import json
import os
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from lrtuner.job import JobSpec
from lrtuner.objective import Target
from worker import trainer
from worker.device import choose_device, prepare
from worker.failure import explained
from worker.handover import Handover, mapped
from worker.range_test import one_sweep
from worker.sandbox.pipe import Pipe
from worker.task import Task, make_task
from worker.training import Run

Asked = dict[str, Any]
Answers = Iterator[dict[str, Any]]

_RUN = TypeAdapter(Run)


SERVE = "worker.serve:serve"
"""Where a new process finds `serve`."""


def ordered(
    spec: JobSpec,
    device: str = "cpu",
    *,
    data: Handover | None = None,
    project: Path | None = None,
    data_root: Path | None = None,
) -> Asked:
    """What a `Server` is told, as plain data.

    Args:
        spec: the job.
        device: where to train, as torch names it.
        data: of a job on files, in a file that its process was given.
        project: the folder of the user's code.
        data_root: the folder below which a model's files lie.
    """
    return {
        "spec": json.loads(spec.model_dump_json(by_alias=True)),
        "device": device,
        "project": str(project) if project else None,
        "data_root": str(data_root) if data_root else None,
        "data": data.model_dump() if data else None,
    }


class Server:
    """What answers; the task is built when it is first needed.

    Args:
        payload: see `ordered`.
    """

    def __init__(self, payload: Asked) -> None:
        if payload["data_root"]:
            os.environ["LRTUNER_DATA_ROOT"] = payload["data_root"]  # where builders look it up
        device = choose_device(payload["device"])
        prepare(device)
        spec = JobSpec.model_validate_json(json.dumps(payload["spec"]))
        data = mapped(Handover.model_validate(payload["data"])) if payload["data"] else None
        project = Path(payload["project"]) if payload["project"] else None
        self._make = partial(make_task, spec, device, project, data)

    @cached_property
    def task(self) -> Task:
        """What is trained."""
        return self._make()

    def answers(self, asked: Asked) -> Answers:
        """The answers to one question, each as soon as it is known; the last may be a failure."""
        for answer in self._guarded(asked):
            yield {"number": asked["number"], **answer}

    def _guarded(self, asked: Asked) -> Answers:
        try:
            for answer in _ANSWERS[asked["ask"]](self.task, asked):
                yield {"answer": answer}
        except Exception as error:  # noqa: BLE001 - anything a model may raise
            yield {"failure": explained(error).model_dump()}


def serve(pipe: Pipe, payload: Asked) -> None:
    """Answer until the pipe ends; see `ordered` for the payload."""
    server = Server(payload)
    while True:
        try:
            asked = pipe.receive()
        except EOFError:
            return
        for answer in server.answers(asked):
            pipe.send(answer)


def _describe(task: Task, _asked: Asked) -> Answers:
    yield {
        "total_steps": task.total_steps,
        "steps_per_epoch": task.steps_per_epoch,
        "examples_per_evaluation": task.examples_per_evaluation,
        "num_validation": len(task.data.validation),
        "num_test": len(task.data.test),
        "num_bytes": task.data.num_bytes,
        "streamed": task.data.streamed,
        "digest": task.data.digest(),
        "notes": list(task.notes),
    }


def _memory(task: Task, _asked: Asked) -> Answers:
    if task.device.type != "cuda":
        yield {"peak": 0, "free": 0}
        return
    free, _ = torch.cuda.mem_get_info(task.device)
    yield {"peak": torch.cuda.max_memory_reserved(task.device), "free": free}


def _one_sweep(task: Task, asked: Asked) -> Answers:
    yield one_sweep(task, asked["rates"], asked["seed"]).model_dump(mode="json")


def _train_together(task: Task, asked: Asked) -> Answers:
    target = asked["target"]
    runs = trainer.train_together(
        task,
        asked["sequences"],
        asked["seed"],
        test=asked["test"],
        norms=asked["norms"],
        target=Target.model_validate_json(json.dumps(target)) if target else None,
    )
    for position, run in runs:
        yield {"position": position, "run": _RUN.dump_python(run, mode="json")}


def _compared(task: Task, asked: Asked) -> Answers:
    yield trainer.compared(task, asked["name"], asked["steps"]).model_dump(mode="json")


def _compare(task: Task, asked: Asked) -> Answers:
    run = trainer.compare(task, asked["name"], asked["seed"], asked["steps"])
    yield {"position": 0, "run": _RUN.dump_python(run, mode="json")}


_ANSWERS: dict[str, Callable[[Task, Asked], Answers]] = {
    "describe": _describe,
    "memory": _memory,
    "one_sweep": _one_sweep,
    "train_together": _train_together,
    "compared": _compared,
    "compare": _compare,
}
