"""A slot: a process with one thread that trains one task (`worker.runners.inside`).

It is of the group of the one that started it, so that a kill takes it along.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from worker.process import described
from worker.remote import PROCESS_DIED, LostError, RemoteError
from worker.runners.inside import LARGEST
from worker.sandbox.pipe import Pipe, ProtocolError

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_STDERR = 2
_LAST_SECONDS = 1.0


class Slot:
    """See `worker.remote.Link`: the process runs code that is trusted, without walls.

    Args:
        payload: what its `worker.serve.Server` is told.
    """

    walls: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def __init__(self, payload: dict[str, Any]) -> None:
        ours, theirs = socket.socketpair()
        self._pipe = Pipe(ours, LARGEST)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.runners.inside", str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=_STDERR,  # ours may be read by a program
                env={**os.environ, **_ONE_THREAD},
                pass_fds=[theirs.fileno()],
            )
        self.send(payload)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """See `Link`."""
        return self._process.poll() is not None

    def send(self, message: dict[str, Any]) -> None:
        """See `Link`."""
        try:
            self._pipe.send(message)
        except OSError:
            raise self._gone() from None

    def receive(self, _largest: int) -> dict[str, Any]:
        """See `Link`; what it runs is trusted to be brief."""
        try:
            return self._pipe.receive(largest=LARGEST)
        except ProtocolError as error:
            raise self.refuse(str(error)) from None
        except (EOFError, OSError):
            raise self._gone() from None

    def refuse(self, problem: str) -> RemoteError:
        """See `Link`."""
        self.close()
        return RemoteError(PROCESS_DIED, f"what its process answered is not allowed: {problem}")

    def close(self) -> None:
        """See `Link`. Whoever waits for an answer, in another thread, is told that it has ended."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._pipe.close()

    def _gone(self) -> LostError:
        try:
            status = self._process.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self.close()
        return LostError(PROCESS_DIED, described(status))
