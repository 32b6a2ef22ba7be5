"""Bodies that are written to a file as they come, and never held in memory."""

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from service.problem import ProblemError

_PREFIX = ".incoming-"
_CHUNK_BYTES = 1024 * 1024
_YOUNGEST_LEFTOVER_SECONDS = 60.0


@dataclass
class Incoming:
    """A body in a file that vanishes at the end of the block unless it is kept."""

    path: Path
    file: IO[bytes]
    num_bytes: int = 0
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> bytes:
        """The digest of what has come so far."""
        return self._hash.digest()

    @property
    def id(self) -> str:
        """What the content is called: `sha256:` and the digest in hex."""
        return f"sha256:{self.sha256.hex()}"

    def write(self, data: bytes) -> None:
        """Append to the file."""
        self.file.write(data)
        self._hash.update(data)
        self.num_bytes += len(data)

    def keep_as(self, path: Path) -> None:
        """Give the file its name, on the disk in full before anybody can see it.

        Raises:
            ProblemError: there is no room.
        """
        with _no_room():  # some systems say so only now
            self.file.flush()
            os.fsync(self.file.fileno())
            self.path.replace(path)


@asynccontextmanager
async def received(request: Request, folder: Path) -> AsyncIterator[Incoming]:
    """The body of the request, in a file in `folder`.

    A client that goes away, a body above the limit and any error leave nothing behind. What a
    process that was killed left is removed by the next upload, in whatever process.

    Raises:
        ProblemError: there is no room.
    """
    with _no_room():
        incoming = await run_in_threadpool(_opened, folder)
    try:
        with _no_room():
            await _fill(incoming, request)
        yield incoming
    finally:
        incoming.path.unlink(missing_ok=True)
        incoming.file.close()


async def _fill(incoming: Incoming, request: Request) -> None:
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= _CHUNK_BYTES:
            await run_in_threadpool(incoming.write, bytes(waiting))
            waiting.clear()
    await run_in_threadpool(incoming.write, bytes(waiting))
    await run_in_threadpool(incoming.file.flush)


def _opened(folder: Path) -> Incoming:
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # says that its process lives
    os.fchmod(descriptor, 0o640)
    return Incoming(Path(name), os.fdopen(descriptor, "wb"))


def _remove_leftovers(folder: Path) -> None:
    """Remove what nobody writes to: the lock of a process ends with it."""
    for path in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - path.stat().st_mtime > _YOUNGEST_LEFTOVER_SECONDS:
                path.unlink()


@contextlib.contextmanager
def _no_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ProblemError("storage_full", "The data folder has no room for it.") from error
