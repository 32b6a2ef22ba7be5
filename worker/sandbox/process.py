"""A sandbox as its parent sees it: start, ask, answer, end."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import lrtuner
import worker
from lrtuner.strict import Strict
from worker.journal import storable
from worker.process import described
from worker.sandbox import kernel, watch
from worker.sandbox.errors import (
    CRASHED,
    DISK_FULL,
    NOT_STARTED,
    OUT_OF_MEMORY,
    PROTOCOL,
    TIMED_OUT,
    TOO_MANY_PROCESSES,
    CodeError,
)
from worker.sandbox.limits import Limits
from worker.sandbox.pipe import LARGEST, Pipe, ProtocolError
from worker.sandbox.scratch import Scratch
from worker.sandbox.walls import WALLS

TAIL = 4096
"""So many of the last bytes of what code prints are kept."""

_SEE = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
_FIXED = {
    "LANG": "C.UTF-8",
    "USER": "code",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}

_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
)  # fmt: skip
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]);"
    "from worker.sandbox.launch import main; main()"
)
_START_SECONDS = 30.0
_TICK_SECONDS = 0.05
_SCAN_EVERY = 10
_READ_PER_TICK = 1 << 20
_MEBIBYTE = 1024 * 1024


class _Up(Strict):
    """The first message: from our code, before any other ran."""

    walls: list[str]
    missing: dict[str, str]
    scratch: str


class Sandbox:
    """A process in which code of others runs; all of it ends with `close`.

    It has no environment but what is listed here, no file but its own few and `readable`, no
    network, and one pipe. What it may use is watched from here.

    Args:
        entry: `module:function`; called inside with the pipe and `payload`.
        payload: plain data.
        limits: what it may use.
        readable: files and folders that it may read, beside the interpreter and what is installed.
        hidden: folders that it must not see, wherever they lie.
        files: descriptors of open files that it is given, under the same numbers.
        skip: walls that are not to be raised.
        gpu: whether it may use the GPUs of the machine.

    Raises:
        CodeError: it could not be started.
    """

    def __init__(
        self,
        entry: str,
        payload: dict[str, Any],
        *,
        limits: Limits | None = None,
        readable: Sequence[Path] = (),
        hidden: Sequence[Path] = (),
        files: Sequence[int] = (),
        skip: Collection[str] = (),
        gpu: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._reason: tuple[str, str] | None = None
        self._output = bytearray()
        self._measured: Path | None = None
        self._folder = Scratch("lrtuner-code-")
        self._scratch = self._folder.path
        with contextlib.suppress(OSError):
            # what this process knows is not to be read by others of its user
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        ours, theirs = socket.socketpair()
        self._pipe = Pipe(ours)
        with theirs:
            self._process = _started(theirs, files)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        order = {
            "entry": entry,
            "payload": payload,
            "limits": self.limits.model_dump(),
            "scratch": str(self._scratch.resolve()),
            "readable": [str(p.absolute()) for p in (*_installed(), *readable, *_drivers(gpu))],
            "hidden": [str(path.resolve()) for path in hidden],
            "devices": [str(p) for p in Path("/dev").glob("nvidia*")] if gpu else [],
            "skip": sorted(skip),
        }
        try:
            self._begin(order)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id; it leads a session that holds all there is of it."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it can be asked no more."""
        return self._reason is not None or _has_ended(self.pid)

    @property
    def output(self) -> str:
        """The end of what was printed, on either stream."""
        with self._lock:
            return self._output.decode(errors="replace")

    @property
    def warnings(self) -> list[str]:
        """What is weaker here than it should be: each wall that is missing, why, and what of it."""
        return [
            f"code runs without {name} ({reason}): {WALLS.get(name, 'see the README')}"
            for name, reason in self.missing.items()
        ]

    def send(self, message: dict[str, Any]) -> None:
        """Ask for something.

        Raises:
            CodeError: it does not take it.
        """
        try:
            self._pipe.send(message, time.monotonic() + self.limits.answer_seconds)
        except TimeoutError:
            raise self._stopped(TIMED_OUT, self._too_late()) from None
        except OSError:
            raise self._gone() from None

    def receive(self, largest: int = LARGEST) -> dict[str, Any]:
        """The next message, of at most `largest` bytes.

        Raises:
            CodeError: none came; the code says why. Everything inside is ended then.
        """
        return self._receive(self.limits.answer_seconds, largest)

    def refuse(self, problem: str) -> CodeError:
        """End it because of what it said; the error to raise."""
        return self._stopped(PROTOCOL, f"what the code answered is not allowed: {problem}")

    def close(self) -> None:
        """End everything inside, and remove its files. May be called again."""
        watch.end(self.pid)
        self._watcher.join()
        self._pipe.close()
        if self._process.stdout:
            self._process.stdout.close()
        self._folder.close()

    def _begin(self, order: dict[str, Any]) -> None:
        try:
            self._pipe.send(order, time.monotonic() + _START_SECONDS)
            told = _Up.model_validate(self._receive(_START_SECONDS, _MEBIBYTE))
        except (OSError, CodeError, ValidationError) as error:
            text = f"the sandbox did not start: {error} {self.output}"
            raise CodeError(NOT_STARTED, storable(text)) from None
        self.walls = [*told.walls, "watcher"]
        self.missing = told.missing | self._exposed(order, told)
        self.scratch = told.scratch
        # where the view is the machine's own, the folder is a real one and has to be measured
        self._measured = None if "mount-namespace" in told.walls else self._scratch

    def _exposed(self, order: dict[str, Any], told: _Up) -> dict[str, str]:
        """What cannot be hidden without a view of its own."""
        if "mount-namespace" in told.walls:
            return {}
        readable = [Path(path) for path in order["readable"]]
        seen = [h for h in order["hidden"] if any(Path(h).is_relative_to(r) for r in readable)]
        return {"hidden-folders": f"{', '.join(seen)} lies where code may read"} if seen else {}

    def _receive(self, seconds: float, largest: int) -> dict[str, Any]:
        try:
            return self._pipe.receive(time.monotonic() + seconds, largest=largest)
        except ProtocolError as error:
            raise self.refuse(str(error)) from None
        except TimeoutError:
            raise self._stopped(TIMED_OUT, self._too_late()) from None
        except EOFError:
            raise self._gone() from None

    def _too_late(self) -> str:
        seconds = self.limits.answer_seconds
        return f"the code gave no answer within {seconds:g} s (LRTUNER_CODE_ANSWER_SECONDS)"

    def _stopped(self, code: str, message: str) -> CodeError:
        self._stop(code, message)
        return self._gone()

    def _gone(self) -> CodeError:
        """It has ended, or is ended now: why."""
        if not self._reason and not _has_ended(self.pid, seconds=1.0):
            self._stop(CRASHED, "the code closed its pipe")
        self.close()
        code, message = self._reason or (CRASHED, _crash(self._process.returncode))
        printed = self.output.strip()[-300:]
        return CodeError(
            code, storable(f"{message}; it printed: {printed}" if printed else message)
        )

    def _stop(self, code: str, message: str) -> None:
        """Kill all of it; the first reason is the one that counts."""
        with self._lock:
            self._reason = self._reason or (code, message)
        watch.end(self.pid)

    # the watcher: a thread of its own, for what happens while nobody waits for an answer ---------

    def _watch(self) -> None:
        try:
            self._watch_until_it_ends()
        except Exception as error:  # unwatched it must not go on
            self._stop(CRASHED, f"the watcher failed: {type(error).__name__}: {error}")
            raise
        finally:
            watch.end(self.pid)  # what it leaves behind
            self._process.wait()
        self._read_output(0.0)

    def _watch_until_it_ends(self) -> None:
        tick = 0
        while not _has_ended(self.pid):
            self._read_output(_TICK_SECONDS)
            tick += 1
            problem = self._excess(thorough=tick % _SCAN_EVERY == 0)
            if problem:
                self._stop(*problem)

    def _excess(self, *, thorough: bool) -> tuple[str, str] | None:
        limits = self.limits
        pids = watch.tree(self.pid)
        if thorough:
            pids |= watch.session(self.pid)
        if watch.tasks(pids) > limits.processes + _OURS:
            return TOO_MANY_PROCESSES, (
                f"the code ran more than {limits.processes} processes and threads "
                "(LRTUNER_CODE_PROCESSES)"
            )
        most = limits.memory_mb * _MEBIBYTE
        if watch.memory(pids, most) > most:
            return OUT_OF_MEMORY, (
                f"the code used more than {limits.memory_mb} MiB of memory (LRTUNER_CODE_MEMORY_MB)"
            )
        written = watch.files(self._measured) if thorough and self._measured else 0
        if written > limits.scratch_mb * _MEBIBYTE:
            return DISK_FULL, (
                f"the code wrote more than {limits.scratch_mb} MiB of files "
                "(LRTUNER_CODE_SCRATCH_MB)"
            )
        return None

    def _read_output(self, seconds: float) -> None:
        """Keep the end of what was printed; whoever prints faster than this has to wait."""
        stream = self._process.stdout
        if stream is None or stream.closed:
            return
        until, left = time.monotonic() + seconds, _READ_PER_TICK
        while select.select([stream], [], [], max(0.0, until - time.monotonic()))[0]:
            part = os.read(stream.fileno(), 1 << 16)
            if not part:
                return
            left -= len(part)
            with self._lock:
                self._output += part
                del self._output[:-TAIL]
            if left <= 0:
                break
        time.sleep(max(0.0, until - time.monotonic()))


_OURS = 2  # the two that wait: outside and inside the namespace of pids


def _started(theirs: socket.socket, files: Sequence[int]) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _SEE if name in os.environ} | _FIXED
    path = [entry for entry in sys.path if entry and Path(entry).exists()]
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _START, str(theirs.fileno()), json.dumps(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd="/",
        pass_fds=[theirs.fileno(), *files],
        start_new_session=True,
        bufsize=0,
    )


def _installed() -> list[Path]:
    """The system's libraries, the interpreter, what is installed, and our own two packages."""
    homes = {Path(home) for home in (sys.prefix, sys.exec_prefix, sys.base_prefix)}
    added = [Path(entry) for entry in sys.path if "-packages" in Path(entry).name]
    ours = [Path(package.__file__).parent for package in (lrtuner, worker) if package.__file__]
    return [*map(Path, _SYSTEM), *sorted(homes), *added, *ours]


def _drivers(gpu: bool) -> list[Path]:
    return [Path("/sys"), Path("/etc/OpenCL")] if gpu else []


def _has_ended(pid: int, seconds: float = 0.0) -> bool:
    """Whether it has; it is not reaped, so that its number stays its own."""
    until = time.monotonic() + seconds
    while True:
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return True
        except ChildProcessError:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.005)


def _crash(status: int) -> str:
    # 128 and more is how the processes that wait hand on a signal
    return described(128 - status if status > 128 else status)
