"""What commands that train here, without a service, have in common."""

import json
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from lrtuner.cli.output import ExitCode, StoppedError
from lrtuner.cli.processes import environment, python
from lrtuner.errors import InvalidInputError, JobFailedError

CodeFolder = Annotated[
    Path | None,
    typer.Option(
        "--code",
        metavar="FOLDER",
        help="The project with lrtune.py, for a job whose model is code. It runs as you do.",
    ),
]


def run_worker(module: str, job: Path, code: Path | None, what: str) -> dict[str, Any]:
    """What a module of the worker's says of a job; its progress goes to stderr as it comes.

    Raises:
        InvalidInputError: the job is not valid; the module has said why.
        JobFailedError: the job cannot work; likewise.
        StoppedError: it ended without a result.
    """
    arguments = [str(job)] if code is None else [str(job), "--code", str(code)]
    done = subprocess.run(
        python(module, *arguments), stdout=subprocess.PIPE, env=environment(), check=False
    )
    if done.returncode == ExitCode.INVALID:
        raise InvalidInputError("nothing was run")
    if done.returncode == ExitCode.FAILED and done.stdout == b"-\n":
        raise JobFailedError(f"{what} cannot go on")
    if done.returncode:
        raise StoppedError(f"{what} ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
