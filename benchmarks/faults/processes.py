"""The processes under test: started with a mark, killed by their ids, looked for afterwards."""

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

GOOD_ENDS = (0, -signal.SIGTERM)
"""How a process may end that is told to: the second before it has learned to listen."""

_MARK = "LRTUNER_FAULTS_MARK"
_ROOT = Path(__file__).parents[2]
_SECONDS_TO_START = 120.0
_OWNER = re.compile(r"worker-[0-9a-f-]{36}")


@dataclass(frozen=True)
class Stopped:
    """A worker stands still in the middle of a job; times on the monotonic clock."""

    job_id: str
    attempt: int
    at_least_until: float
    at_most_until: float


@dataclass
class Process:
    """One process that was started here, and the file that it logs to."""

    popen: "subprocess.Popen[bytes]"
    log: Path
    num_slots: int = 1
    ending: bool = False
    stopped: "Stopped | None" = None
    _owner: str | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Its id."""
        return self.popen.pid

    @property
    def owner(self) -> str | None:
        """Under which name a worker claims; None as long as it has not said so."""
        if self._owner is None and (found := _OWNER.search(self.log.read_text())):
            self._owner = found[0]
        return self._owner

    def training(self) -> list[int]:
        """Of a worker: the process of the job that it trains."""
        return sorted(_children(self.pid, deep=False))

    def slots(self) -> list[int]:
        """Of a worker with several slots: their processes."""
        return sorted(pid for child in self.training() for pid in _children(child, deep=False))

    def descendants(self) -> set[tuple[int, str]]:
        """What it has started, as far as it runs: (id, when it started)."""
        return {(pid, at) for pid in _children(self.pid) if (at := born(pid)) is not None}

    def kill(self) -> None:
        """As the system kills what takes too much memory."""
        self.popen.kill()
        self.popen.wait()
        self.close()

    def end(self) -> int:
        """Tell it to end, and wait; its exit status."""
        self.popen.send_signal(signal.SIGCONT)
        self.popen.terminate()
        status = self.popen.wait(_SECONDS_TO_START)
        self.close()
        return status

    def close(self) -> None:
        """Of one that has ended: its pipe."""
        if self.popen.stdin:
            with contextlib.suppress(OSError):
                self.popen.stdin.close()


class Fleet:
    """An API and workers on one database; everything that they start carries the same mark."""

    def __init__(self, folder: Path, url: str, lease: float) -> None:
        self.folder, self.mark = folder, f"{_MARK}={secrets.token_hex(8)}"
        self._environment = os.environ | {
            _MARK: self.mark.partition("=")[2],
            "LRTUNER_DATABASE_URL": url,
            "LRTUNER_DATA_DIR": str(folder),
            "LRTUNER_DEVICE": "cpu",
            "LRTUNER_LEASE_SECONDS": str(lease),
            "LRTUNER_HEARTBEAT_SECONDS": str(lease / 8),
            "LRTUNER_POLL_SECONDS": "0.1",
            "LRTUNER_MAX_ATTEMPTS": "1000",
            "OMP_NUM_THREADS": "1",
        }
        self.workers: list[Process] = []
        self.logs: list[Path] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.start_api()

    @property
    def address(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self._port}"

    def train_on(self, address: str) -> None:
        """Let workers that are started from now on train on that cluster of Ray."""
        self._environment |= os.environ | {
            "LRTUNER_RUNNER": "ray",
            "LRTUNER_RAY_ADDRESS": address,
        }

    def start_worker(self, num_slots: int = 1) -> Process:
        """One more worker, which trains so many runs at a time."""
        worker = self._start("-m", "worker", "--exit-with-parent", slots=num_slots)
        self.workers.append(worker)
        return worker

    def start_api(self) -> None:
        """Start it, or start it again where it was; see `wait_for_api`."""
        self.api = self._start("-m", "service", "--port", str(self._port), "--exit-with-parent")

    def wait_for_api(self) -> None:
        """Until it answers.

        Raises:
            RuntimeError: it does not.
        """
        deadline = time.monotonic() + _SECONDS_TO_START
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.address}/readyz").status_code == 200:
                    return
            if self.api.popen.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the API does not start: {self.api.log.read_text()}")
            time.sleep(0.05)

    def end(self) -> list[int]:
        """End everything as an operator would; the exit statuses that should not be."""
        statuses = [process.end() for process in [*self.workers, self.api]]
        self.workers.clear()
        return [status for status in statuses if status not in GOOD_ENDS]

    def marked(self) -> set[int]:
        """Every process of this system that carries our mark, but for dead ones."""
        return titled(b"", self.mark)

    def orphans(self, patience: float) -> set[int]:
        """What still runs of ours so long after everything was ended; it is killed then."""
        left = waited(self.marked, patience)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    def said(self, words: str) -> int:
        """How often the workers have logged these words."""
        return sum(log.read_text().count(words) for log in self.logs)

    def _start(self, *command: str, slots: int = 1) -> Process:
        log = self.folder / f"{len(self.logs)}-{command[1]}.log"
        self.logs.append(log)
        environment = self._environment | {"LRTUNER_SLOTS": str(slots)}
        with log.open("wb") as file:
            popen = _popen([sys.executable, *command], environment, file)
        return Process(popen, log, slots)


def titled(title: bytes, mark: str) -> set[int]:
    """The processes of this system that carry the mark, and whose command begins so."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and mark.encode() in _of(folder, "environ"):
            found |= {int(folder.name)} if _of(folder, "cmdline").startswith(title) else set()
    return found


def waited(left: Callable[[], set[Any]], patience: float) -> set[Any]:
    """What is left once it is nothing, or once patience ends, in seconds."""
    deadline = time.monotonic() + patience
    while (found := left()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def is_running(process: tuple[int, str]) -> bool:
    """Whether a process is still there: not dead, and not another one with its number."""
    pid, started_at = process
    return born(pid) == started_at


def _popen(
    command: list[str], environment: dict[str, str], log: IO[bytes]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, cwd=_ROOT, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
    )


def _children(pid: int, *, deep: bool = True) -> set[int]:
    """The process's children and theirs, or them alone."""
    found = set()
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                found |= {child, *(_children(child) if deep else ())}
    return found


def born(pid: int) -> str | None:
    """When the process started, in ticks of the system; None for what is gone or dead."""
    with contextlib.suppress(OSError):
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return None if state in "ZX" else rest[18]
    return None


def _of(folder: Path, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return (folder / name).read_bytes()  # empty for what is dead
    return b""
