"""The commands that run the service: serve, and its parts api, worker and migrate."""

import importlib.util
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import httpx
import typer

from lrtuner.cli.output import StoppedError, note, say
from lrtuner.cli.supervisor import Command, Supervisor, stop_on_signals, stop_with_parent
from lrtuner.client import DEFAULT_URL
from lrtuner.errors import InvalidInputError, UnsupportedError
from lrtuner.words import plural

READY_SECONDS = 60.0

#: What an extra brings, by the names it is imported under.
_EXTRAS = {
    "service": ("alembic", "fastapi", "pydantic_settings", "sqlalchemy", "uvicorn"),
    "worker": ("alembic", "optuna", "pydantic_settings", "scipy", "sklearn", "sqlalchemy", "torch"),
}
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - to connect to

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(epilog="Example:  lrtuner serve --port 9000 --workers 2")(serve)
    app.command(epilog="Example:  lrtuner api --host 0.0.0.0")(api)
    app.command(epilog="Example:  LRTUNER_DEVICE=cuda:0 lrtuner worker")(worker)
    app.command(epilog="Example:  LRTUNER_DATABASE_URL=postgresql://... lrtuner migrate")(migrate)


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8470,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many jobs run at once.")] = 1,
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
) -> None:
    """Run the API and its workers.

    The database is a SQLite file in LRTUNER_DATA_DIR (default ./.lrtuner), or what
    LRTUNER_DATABASE_URL names; it is migrated first. Ctrl-C stops everything.
    """
    require("service", "worker")
    port = _free_port(host, port)
    _migrate()
    settings = environment()
    if host in _LOOPBACK:  # elsewhere only the operator knows under which address it is reached
        settings.setdefault("LRTUNER_PUBLIC_URL", _url(host, port))
    settings["LRTUNER_WORKERS"] = str(workers)  # which share the cores among them
    supervisor = Supervisor(_commands(host, port, workers), env=settings)
    if exit_with_parent:
        stop_with_parent(supervisor.inbox)
    with stop_on_signals(supervisor.inbox), supervisor:
        stopped = _await_ready(supervisor, _url(host, port))
        if not stopped:
            _welcome(_url(host, port), workers)
            supervisor.wait()
        note("stopping")


def api(host: Host = "127.0.0.1", port: Port = 8470) -> None:
    """Run the API alone.

    The workers run elsewhere, on the same database, which has to be migrated.
    """
    require("service")
    _become("service", "--host", host, "--port", str(_free_port(host, port)))


def worker() -> None:
    """Run one worker.

    It takes jobs from the database; start as many as there is hardware for.
    """
    require("worker")
    _become("worker")


def migrate(
    url: Annotated[str | None, typer.Option(help="Default: LRTUNER_DATABASE_URL.")] = None,
) -> None:
    """Bring the database up to date."""
    require_database()
    _become("lrtuner.store.migrate", *(["--url", url] if url else []))


def _commands(host: str, port: int, workers: int) -> list[Command]:
    listen = ("--host", host, "--port", str(port))
    commands = [Command("api", python("service", *listen, "--exit-with-parent"))]
    for number in range(1, workers + 1):
        name = "worker" if workers == 1 else f"worker {number}"
        commands.append(Command(name, python("worker", "--exit-with-parent")))
    return commands


def _await_ready(supervisor: Supervisor, url: str) -> bool:
    """Wait until the API answers; True if told to stop before."""
    end = time.monotonic() + READY_SECONDS
    with httpx.Client(base_url=url, timeout=2.0, trust_env=False) as http:
        while not _is_ready(http):
            if supervisor.wait(0.1):
                return True
            if time.monotonic() > end:
                raise StoppedError(f"the API was not ready after {READY_SECONDS:g} s")
    return False


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").is_success
    except httpx.RequestError:
        return False


def _welcome(url: str, workers: int) -> None:
    setting = "" if url == DEFAULT_URL else f"LRTUNER_URL={shlex.quote(url)} "
    say(f"lrtuner listens on {url} with {plural(workers, 'worker')}; Ctrl-C stops it")
    say(f"  API     {url}/docs")
    say(f"  submit  {setting}lrtuner submit job.json --wait")


def _migrate() -> None:
    done = subprocess.run(
        python("lrtuner.store.migrate"),
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InvalidInputError(f"cannot migrate the database: {_reason(done)}")
    note(done.stdout.strip())


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why it ended, without the traceback if there is one."""
    errors = re.findall(r"^[\w.]+(?:Error|Exception): .*", done.stderr, flags=re.MULTILINE)
    if errors and "Traceback" in done.stderr:
        return str(errors[-1])
    return done.stderr.strip() or f"exit code {done.returncode}"


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        InvalidInputError: nobody can listen there.
    """
    # Asked here, because on a taken port it is the other service that would say that it is ready.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise InvalidInputError(f"cannot listen on {host}, port {port}: {reason}") from None
        return int(probe.getsockname()[1])


def _url(host: str, port: int) -> str:
    host = _ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def require(*extras: str) -> None:
    """Fail now if what the extras bring is not installed.

    Raises:
        UnsupportedError: it names what is missing and how to install it.
    """
    missing = [extra for extra in extras if _missing(extra)]
    if missing:
        modules = ", ".join(sorted({name for extra in missing for name in _missing(extra)}))
        wanted = f"lrtuner[{','.join(missing)}]"
        raise UnsupportedError(
            f"this needs {modules}, not installed here; install with: pip install '{wanted}'"
        )


def require_database() -> None:
    """Fail now if what speaks to the database is not installed; either process brings it.

    Raises:
        UnsupportedError: as `require`.
    """
    if _missing("service"):
        require("worker")


def _missing(extra: str) -> list[str]:
    return [name for name in _EXTRAS[extra] if importlib.util.find_spec(name) is None]


def _become(module: str, *arguments: str) -> None:
    """Replace this process: signals and exit codes are then the module's own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, python(module, *arguments), environment())  # noqa: S606


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment of child processes."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(_search_path()),
        # Or a file named `worker.py` where the user stands would be run instead of ours.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _search_path() -> Sequence[str]:
    """The search path for children: a checkout that is not installed has to be named to them."""
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    root = Path(__file__).resolve().parents[2]
    installed = root.name in ("site-packages", "dist-packages")
    return given if installed or str(root) in given else [str(root), *given]
