"""The command that says what is wrong with an installation, and how to mend it: doctor."""

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Annotated

import typer

from lrtuner.cli import surroundings
from lrtuner.cli.output import ExitCode, say, table
from lrtuner.cli.processes import environment, installed, python
from lrtuner.diagnosis import Diagnosis, Examination, State, distinct, wrong
from lrtuner.jsontext import dumps

PATIENCE_SECONDS = 120.0

#: What examines each part, in a process of its own: it may crash, or lack what others need.
_EXAMINERS = {
    "service": ("lrtuner.store.doctor", "service.doctor"),
    "worker": ("lrtuner.store.doctor", "worker.doctor"),
}

_EXAMPLES = """\b
Examples:
  lrtuner doctor
  docker compose exec worker lrtuner doctor
  lrtuner doctor --json | jq '.diagnoses[] | select(.state != "ok")'
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog=_EXAMPLES)(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look for what is wrong here, and say how to mend it.

    What is looked at depends on what is installed: versions, settings, database, disk, device,
    sandbox, access, and the service at LRTUNER_URL. Nothing is changed. The exit code is 1 if
    something does not work.
    """
    found = distinct(examined())
    healthy = all(item.state is not State.PROBLEM for item in found)
    if as_json:
        say(dumps({"healthy": healthy, "diagnoses": [asdict(item) for item in found]}, indent=2))
    else:
        say("\n".join(line for item in found for line in _lines(item)))
    if not healthy:
        raise typer.Exit(ExitCode.FAILED)


def examined() -> list[Diagnosis]:
    """Everything that can be looked at here."""
    extras = installed()
    found = list(surroundings.versions(extras))
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(ask, dict.fromkeys(m for extra in extras for m in _EXAMINERS[extra])))
    if len(extras) == len(_EXAMINERS):  # one that is not here may know what the others do not
        known = [name for part in parts for name in part.variables]
        found += surroundings.variables(os.environ, known)
    found += [item for part in parts for item in part.diagnoses]
    if extras:
        found += surroundings.folders(os.environ)
    if extras == ["worker"] and not os.environ.get("LRTUNER_URL"):
        return found  # it meets the service in the database, and need not reach it
    return [*found, *surroundings.server(os.environ, is_client=not extras)]


def ask(module: str) -> Examination:
    """What an examination in a process of its own finds; that it broke off is a finding, too."""
    reason = f"no end after {PATIENCE_SECONDS:g} s"
    try:
        done = subprocess.run(
            python(module),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        reason = _last_line(done.stderr) or f"exit code {done.returncode}"
        return Examination.parsed(_last_line(done.stdout))
    except (subprocess.TimeoutExpired, ValueError):
        told = f"`python -m {module}` broke off: {reason}"
        return Examination([wrong(module, told, "that is where to look: run it by itself")], [])


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "")


def _lines(item: Diagnosis) -> Sequence[str]:
    remedy = f"; {item.remedy}" if item.remedy else ""
    return table([(f"{item.state:8} {item.check:16}", f"{item.told}{remedy}")], indent="")
