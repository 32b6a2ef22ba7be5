"""A task that is trained in a sandbox."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtuner.job import JobSpec
from worker.handover import Handover
from worker.journal import storable
from worker.remote import RemoteTask
from worker.sandbox.errors import WALL_MISSING, CodeError
from worker.sandbox.process import Sandbox
from worker.sandbox.walls import not_standing
from worker.serve import SERVE, ordered


class SandboxedTask(RemoteTask):
    """See `worker.remote.RemoteTask`: its process is in a sandbox.

    Args:
        spec: the job.
        start: starts a sandbox with the entry and payload that it is given.
        device: where to train, as torch names it.
        data: of a job on files, in a file that `start` gives to the sandbox (`worker.handover`).
        project: the folder of the user's code, which the sandbox may read.
        data_root: the operator's data root, where the sandbox may read what the model is made of.
        wanted: walls without which nothing is run (see `worker.sandbox.walls`).

    Raises:
        CodeError: a wall is missing, or the sandbox was ended.
        JobFailedError: see `RemoteTask`.
    """

    def __init__(
        self,
        spec: JobSpec,
        start: Callable[[str, dict[str, Any]], Sandbox],
        device: str = "cpu",
        *,
        data: Handover | None = None,
        project: Path | None = None,
        data_root: Path | None = None,
        wanted: str = "",
    ) -> None:
        payload = ordered(spec, device, data=data, project=project, data_root=data_root)

        def walled() -> Sandbox:
            sandbox = start(SERVE, payload)
            _check_walls(sandbox, wanted)  # nothing of the code has run before the first question
            return sandbox

        super().__init__(spec, walled)


def _check_walls(sandbox: Sandbox, wanted: str) -> None:
    missing = not_standing(wanted, sandbox.walls)
    if missing:
        sandbox.close()
        why = "; ".join(f"{name}: {reason}" for name, reason in sandbox.missing.items())
        told = f"code is not run here without {', '.join(missing)} (LRTUNER_CODE_WALLS); {why}"
        raise CodeError(WALL_MISSING, storable(told))
