"""A job in a sandbox, where the worker's rules or its code ask for one."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from lrtuner.errors import InvalidCodeError, JobFailedError, NotFoundError
from lrtuner.job import JobSpec
from lrtuner.projects import find_project, unpack
from lrtuner.sources import Code, Entrypoint, Timm, Torchvision, Transformers
from lrtuner.sources.code import allowed
from worker.handover import read_outside
from worker.rules import Rules
from worker.sandbox.errors import NOT_ALLOWED, CodeError
from worker.sandbox.process import Sandbox
from worker.sandbox.scratch import Scratch
from worker.sandbox.trainer import SandboxedTask
from worker.settings import Settings
from worker.sources.libraries import below_root


@contextlib.contextmanager
def trained_in(rules: Rules, spec: JobSpec, device: torch.device) -> Iterator[SandboxedTask | None]:
    """The job's task in a sandbox, or None where it is trained in this process.

    Raises:
        CodeError: the rules do not allow the job's code; or see `SandboxedTask`.
        JobFailedError: the code is not there, or has changed; or the data cannot be read.
    """
    with starter(rules, spec, device) as start:
        if start is None:
            yield None
            return
        with start() as task:
            yield task


@contextlib.contextmanager
def starter(
    rules: Rules, spec: JobSpec, device: torch.device
) -> Iterator[Callable[[], SandboxedTask] | None]:
    """What starts a sandbox with the job's task, or None where the job needs none.

    Uploaded code is always in a sandbox; what the operator listed, as all that is built in, where
    `sandbox` is on.

    Raises:
        CodeError: the rules do not allow the job's code.
        JobFailedError: the code is not there, or has changed; or the data cannot be read.
    """
    _check_allowed(rules, spec)
    uploaded = isinstance(spec.model, Code)
    if not rules.sandbox and not uploaded:
        yield None
        return
    files = _model_files(spec)
    with _unpacked(rules, spec) as project, read_outside(spec) as data:
        start = partial(
            Sandbox,
            limits=rules.limits,
            hidden=[Path(rules.data_dir)],
            readable=[*files, *([project] if project else [])],
            files=[data.file] if data else [],
            gpu=device.type == "cuda",
        )
        wanted = rules.walls if uploaded else ""
        yield partial(
            SandboxedTask,
            spec,
            start,
            str(device),
            data=data,
            project=project,
            data_root=Settings().data_root if files else None,
            wanted=wanted,
        )


def _check_allowed(rules: Rules, spec: JobSpec) -> None:
    if isinstance(spec.model, Code) and not rules.code:
        told = "this worker runs no uploaded code (LRTUNER_CODE)"
        raise CodeError(NOT_ALLOWED, f"model.source: {told}")
    if isinstance(spec.model, Entrypoint) and not allowed(spec.model.target, rules.entrypoints):
        told = f"{spec.model.target} is not among what this worker may run (LRTUNER_ENTRYPOINTS)"
        raise CodeError(NOT_ALLOWED, f"model.target: {told}")


def _model_files(spec: JobSpec) -> list[Path]:
    """The file or folder below the data root that the job's model is made of."""
    model = spec.model
    if not isinstance(model, Transformers | Timm | Torchvision) or not model.reads_files:
        return []
    if model.path is None:
        told = "a sandbox has no caches of models: put it below the data root and name its path"
        raise JobFailedError(f"model.path: {told}")
    found = below_root(model.path, "model.path")
    _check_rights(found)
    return [found]


def _check_rights(found: Path) -> None:
    """Say which file cannot be read where nobody is root: libraries only say that it is missing."""
    if os.geteuid() != 0:
        return
    for file in [found, *found.rglob("*")]:
        if not file.stat().st_mode & stat.S_IROTH:
            told = f"{file} can be read by its owner alone, and in a sandbox nobody is root"
            raise JobFailedError(f"model.path: {told}: chmod o+r it")


@contextlib.contextmanager
def _unpacked(rules: Rules, spec: JobSpec) -> Iterator[Path | None]:
    """The job's project in a folder of its own, which is removed at the end."""
    if not isinstance(spec.model, Code):
        yield None
        return
    if spec.model.id is None:
        raise JobFailedError("model.id: the job names no uploaded code (lrtuner submit --code)")
    with Scratch("lrtuner-project-") as folder:
        if os.geteuid() == 0:
            folder.chmod(0o755)  # in the sandbox nobody is root
        try:
            unpack(find_project(Path(rules.data_dir), spec.model.id), folder)
        except (NotFoundError, InvalidCodeError) as error:
            raise JobFailedError(f"model.id: {error}") from None
        yield folder.resolve()
