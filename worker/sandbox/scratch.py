"""Folders for a while: they go with the process that made them, however it ends."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_YOUNGEST_LEFTOVER_SECONDS = 60.0


class Scratch:
    """An empty folder in the system's folder for such, until `close`.

    A process that is killed cannot remove its own; the next one that makes a folder with the same
    prefix does. A lock tells those that are still used: the kernel takes it from whoever ends.

    Attributes:
        path: of the folder.
    """

    def __init__(self, prefix: str) -> None:
        _remove_leftovers(prefix)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock: int | None = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove it. May be called again."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None


def _remove_leftovers(prefix: str) -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # one that was made just now is not locked yet
                if time.time() - os.fstat(lock).st_mtime > _YOUNGEST_LEFTOVER_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
