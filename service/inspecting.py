"""Files that nobody trusts, looked at in a process of its own each.

See `lrtuner.datasets` and `lrtuner.projects` for what these processes do.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lrtuner
from lrtuner.datasets import Format, Inspection
from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.projects import ProjectFile
from service.problem import ProblemError
from service.settings import Settings
from service.wording import plain

INSPECTIONS_AT_ONCE = 2
_SECONDS = 300

_log = logging.getLogger(__name__)


def inspected(path: Path, format: Format, target: str | None, settings: Settings) -> Inspection:
    """What is in a file of examples.

    Raises:
        ProblemError: it cannot be used, for the reason that is told; or looking at it took too
            long, too much memory, or ended the process that did.
    """
    arguments = [format, str(path.resolve())]
    arguments += ["--array-bytes", str(settings.max_dataset_mb * MEBIBYTE)]
    arguments += ["--preload-bytes", str(settings.preload_mb * MEBIBYTE)]
    arguments += ["--scratch", str((settings.data_dir / "scratch").absolute())]
    arguments += [f"--target={target}"] if target is not None else []
    told = _told_apart("lrtuner.datasets", arguments, refused)
    return Inspection.model_validate(told["inspection"])


def checked_code(path: Path) -> list[ProjectFile]:
    """The files of a project.

    Raises:
        ProblemError: as `inspected`.
    """
    told = _told_apart("lrtuner.projects", [str(path.resolve())], refused_code)
    return [ProjectFile(*file) for file in told["files"]]


def refused(reason: str, where: Mapping[str, int | str] | None = None) -> ProblemError:
    """The answer to a file of examples that cannot be used."""
    return _refused("invalid_dataset", f"The file cannot be used: {plain(reason)}", where)


def refused_code(reason: str, where: Mapping[str, int | str] | None = None) -> ProblemError:
    """The answer to an archive that is no project."""
    return _refused("invalid_code", f"The archive cannot be used: {plain(reason)}", where)


def _refused(code: str, message: str, where: Mapping[str, int | str] | None) -> ProblemError:
    entry = {"pointer": None, "field": "body", "message": message}
    return ProblemError(
        code, f"{message}.", errors=[entry | ({"value": dict(where)} if where else {})]
    )


def _told_apart(
    module: str, arguments: list[str], refusal: Callable[..., ProblemError]
) -> dict[str, Any]:
    """What `python -m module` tells; where it tells a problem, that is raised as a refusal."""
    command = [sys.executable, "-m", module, *arguments, "--seconds", str(_SECONDS)]
    try:
        done = subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise refusal(f"reading it takes more than {_SECONDS} seconds") from None
    if done.returncode:
        _log.warning(
            "%s: exit code %d, %s",
            module,
            done.returncode,
            done.stderr.decode(errors="replace")[-2000:],
        )
        raise refusal("it breaks what reads it: it is damaged, or takes too much memory or time")
    told: dict[str, Any] = json.loads(done.stdout)
    if "problem" in told:
        raise refusal(told["problem"], told["where"])
    return told


def _environment() -> dict[str, str]:
    """What the process needs to find its code, and nothing that is worth stealing."""
    kept = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    code = str(Path(lrtuner.__file__).parents[1])
    return found | {"PYTHONPATH": code, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
