"""Bring the stack up from a clean clone, hurt it while it works, and see that nothing is lost.

`tests/compose/run [workers] [ray]`: builds the images, and starts docker-compose.yml under a
project name of its own for each of these scenarios, both if none is named. Standard library only.
Exits with 1 and the logs on the first thing that is not as it should be; takes down all that it
started, but for the images.
"""

import argparse
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.compose import cluster, workers
from tests.compose.stack import BrokenError, Stack, run, say

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = f"a/b:c@d%20{secrets.token_urlsafe(18)}"  # of the kind that breaks URLs
TAG = "test"


@dataclass(frozen=True)
class Scenario:
    """What is brought up, and what is done to it.

    Attributes:
        exercise: given the stack and its secrets, which nobody may see.
        images: the services whose images are built, each the name of one.
        profile: of docker-compose.yml, beside the services without.
    """

    exercise: Callable[[Stack, list[str]], None]
    images: dict[str, str]
    profile: str | None = None


SCENARIOS = {
    "workers": Scenario(
        workers.exercise,
        {"api": "lrtuner-api", "migrate": "lrtuner-migrate", "worker": "lrtuner-worker"},
    ),
    "ray": Scenario(
        cluster.exercise,
        {"api": "lrtuner-api", "migrate": "lrtuner-migrate", "ray-head": "lrtuner-ray"},
        profile="ray",
    ),
}


def main() -> int:
    """Run the scenarios that are named; 0 if all went well."""
    parser = argparse.ArgumentParser(prog="tests/compose/run", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"{' or '.join(SCENARIOS)}; all by default")
    named = parser.parse_args().scenario
    unknown = set(named) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return int(not all(_passes(name) for name in named or SCENARIOS))


def _passes(name: str) -> bool:
    say(f"\n{name}")
    folder = Path(tempfile.mkdtemp(prefix="lrtuner-compose-"))
    scenario, port = SCENARIOS[name], _free_port()
    clone = folder / "lrtuner"
    stack = Stack(clone, f"lrtuner-{secrets.token_hex(4)}", port, scenario.profile)
    try:
        hidden = _clone(clone, port)
        _build(stack, scenario.images)
        try:
            scenario.exercise(stack, hidden)
        except (BrokenError, AssertionError, OSError, ValueError):
            stack.show_logs()
            raise
        finally:
            stack.take_down()
    except (BrokenError, AssertionError, OSError, ValueError) as error:
        say(f"\nFAILED: {type(error).__name__}: {error}")
        return False
    finally:
        shutil.rmtree(folder)
    say(f"{name}: all of it works")
    return True


def _clone(folder: Path, port: int) -> list[str]:
    """Clone what is committed, and set it up as the README says; the secrets."""
    run(["git", "clone", "--quiet", "--no-hardlinks", f"file://{ROOT}", str(folder)])
    if run(["git", "status", "--porcelain"], ROOT).strip():
        say("what is not committed here is not tested")
    settings = {
        "POSTGRES_PASSWORD": PASSWORD,
        "LRTUNER_PORT": port,
        "LRTUNER_TAG": TAG,
        "LRTUNER_LEASE_SECONDS": workers.LEASE_SECONDS,
    }
    lines = [f"{name}={value}" for name, value in settings.items()]
    example = (folder / ".env.example").read_text()
    (folder / ".env").write_text("\n".join([example, *lines, ""]))
    token = secrets.token_hex(24)
    (folder / "secrets").mkdir(mode=0o711)
    (folder / "secrets" / "ray_token").write_text(f"{token}\n")
    return [PASSWORD, token]


def _build(stack: Stack, images: dict[str, str]) -> None:
    began = time.monotonic()
    stack.compose("build", "--quiet", *images, seconds=3600)
    say(f"images built in {time.monotonic() - began:.0f} s; on top of their base they take")
    for name in images.values():
        say(f"  {name:16} {_added_bytes(f'{name}:{TAG}') / 1e6:6.0f} MB")


def _added_bytes(image: str) -> int:
    """The size of an image without that of the public image that it is made from."""
    history = ["docker", "history", "--human=false", "--format", "{{.Size}}"]
    sizes = [int(size) for size in run([*history, image]).split()]
    base = run([*history, f"python:{_python_tag()}"]).split()
    return sum(sizes[: len(sizes) - len(base)])


def _python_tag() -> str:
    line = next(s for s in (ROOT / "Dockerfile").read_text().splitlines() if s.startswith("ARG"))
    return line.partition("=")[2]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
