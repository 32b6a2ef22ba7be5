"""A file that nobody trusts, looked at in a process of its own (see `lrtuner.datasets`)."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import lrtuner
from lrtuner.datasets import Format, Inspection
from lrtuner.datasets.limits import MEBIBYTE
from service.problem import ProblemError
from service.settings import Settings
from service.wording import plain

INSPECTIONS_AT_ONCE = 2
_SECONDS = 300

_log = logging.getLogger(__name__)


def inspected(path: Path, format: Format, target: str | None, settings: Settings) -> Inspection:
    """What is in the file.

    Raises:
        ProblemError: it cannot be used, for the reason that is told; or looking at it took too
            long, too much memory, or ended the process that did.
    """
    command = [sys.executable, "-m", "lrtuner.datasets", format, str(path.resolve())]
    command += ["--array-bytes", str(settings.max_dataset_mb * MEBIBYTE)]
    command += ["--preload-bytes", str(settings.preload_mb * MEBIBYTE)]
    command += ["--scratch", str((settings.data_dir / "scratch").absolute())]
    command += ["--seconds", str(_SECONDS)]
    command += [f"--target={target}"] if target is not None else []
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
        raise refused(f"reading it takes more than {_SECONDS} seconds") from None
    if done.returncode:
        _log.warning(
            "inspection of a %s file: exit code %d, %s",
            format,
            done.returncode,
            done.stderr.decode(errors="replace")[-2000:],
        )
        raise refused("it breaks what reads it: it is damaged, or takes too much memory or time")
    told = json.loads(done.stdout)
    if "problem" in told:
        raise refused(told["problem"], told["where"])
    return Inspection.model_validate(told["inspection"])


def refused(reason: str, where: dict[str, int | str] | None = None) -> ProblemError:
    """The answer to a file that cannot be used."""
    message = f"The file cannot be used: {plain(reason)}"
    entry = {"pointer": None, "field": "body", "message": message}
    return ProblemError(
        "invalid_dataset", f"{message}.", errors=[entry | ({"value": where} if where else {})]
    )


def _environment() -> dict[str, str]:
    """What the process needs to find its code, and nothing that is worth stealing."""
    kept = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    code = str(Path(lrtuner.__file__).parents[1])
    return found | {"PYTHONPATH": code, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
