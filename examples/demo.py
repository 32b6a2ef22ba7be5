"""Tune a real model once, end to end, over HTTP: `python -m examples.demo` (or `make demo`).

It starts the service on a free port with a database of its own, submits `examples/digits-mlp.json`
to it, writes `schedule.json` here, checks and draws it, and stops what it started. Every step is
the `lrtuner` command that you would type yourself.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

JOB = Path(__file__).with_name("digits-mlp.json")
OUTPUT = "schedule.json"
TIMEOUT_SECONDS = 900
STOP_SECONDS = 30


class DemoError(Exception):
    """The demo cannot go on."""


def main() -> int:
    """Run the demo; 0 if all went well, else the exit code of the step that did not."""
    folder = _new_folder()
    environment = {k: v for k, v in os.environ.items() if k not in _NOT_PASSED_ON}
    environment["LRTUNER_DATA_DIR"] = str(folder)
    log = folder / "serve.log"
    try:
        with _service(environment, log) as url:
            environment["LRTUNER_URL"] = url
            timeout = str(TIMEOUT_SECONDS)
            submit = ["submit", _shown(JOB), "--wait", "--output", OUTPUT, "--timeout", timeout]
            for command in (submit, ["check", OUTPUT], ["show", OUTPUT]):
                _run(command, environment)
    except subprocess.CalledProcessError as error:
        print(f"\nThis step failed. The service's log is {log}", file=sys.stderr)
        return int(error.returncode)
    except DemoError as error:
        print(f"{error}\nThe service's log is {log}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _say_where_the_evidence_is(folder)
    return 0


#: The demo is the same whatever is configured here: embedded database, own service, no key.
_NOT_PASSED_ON = (
    "LRTUNER_DATABASE_URL",
    "LRTUNER_DATABASE_URL_FILE",
    "LRTUNER_DATABASE_PASSWORD",
    "LRTUNER_DATABASE_PASSWORD_FILE",
    "LRTUNER_URL",
    "LRTUNER_API_KEY",
    "LRTUNER_AUTH",
    "LRTUNER_PUBLIC_URL",
)


@contextmanager
def _service(environment: dict[str, str], log: Path) -> Iterator[str]:
    """The URL of a service that runs within the block, with its log in a file."""
    command = [*_LRTUNER, "serve", "--port", "0", "--exit-with-parent"]
    print(f"Starting the service; its log is {log}", flush=True)
    with (
        log.open("w") as file,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,  # Ctrl-C is for the step that runs; the service is stopped last
        ) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()  # its own children notice


def _address(process: "subprocess.Popen[str]", log: Path) -> str:
    line = process.stdout.readline() if process.stdout else ""
    urls = [word for word in line.split() if word.startswith("http://")]
    if not urls:
        raise DemoError(f"The service did not start:\n{log.read_text().strip()}")
    return urls[0]


def _run(arguments: list[str], environment: dict[str, str]) -> None:
    print(f"\n$ lrtuner {shlex.join(arguments)}", flush=True)
    subprocess.run([*_LRTUNER, *arguments], env=environment, check=True)


def _say_where_the_evidence_is(folder: Path) -> None:
    installed = Path(sys.executable).with_name("lrtuner")
    python = _shown(Path(sys.executable))
    lrtuner = _shown(installed) if installed.exists() else f"{python} -m lrtuner.cli"
    print("\nThe service is stopped. The evidence (trials, curves, events) stays on disk.")
    print(f"  the database       {folder / 'lrtuner.db'}")
    print(f"  look at it again   LRTUNER_DATA_DIR={folder} {lrtuner} serve")
    print(f"  use the schedule   {lrtuner} export {OUTPUT} --format torch")


def _new_folder() -> Path:
    now = datetime.now().astimezone()
    folder = Path(".lrtuner") / f"demo-{now:%Y%m%d-%H%M%S}-{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


def _shown(path: Path) -> str:
    """The path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


_LRTUNER = (sys.executable, "-m", "lrtuner.cli")

if __name__ == "__main__":
    sys.exit(main())
