"""A slot ends with the one that started it, and frees what waits for it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.worker.conftest import spec_of
from worker.remote import LostError, RemoteTask
from worker.runners.slot import Slot
from worker.serve import ordered

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0

PARENT = """
import sys
from tests.worker.conftest import spec_of
from worker.runners.slot import Slot
from worker.serve import ordered
slots = [Slot(ordered(spec_of())) for _ in range(2)]
print(*(slot.pid for slot in slots), flush=True)
{then}
"""
ENDS = {
    "waits": "sys.stdin.read()",
    "raises": "raise SystemExit(3)",
    "exits": "import os; os._exit(3)",
}


@pytest.fixture
def slot():
    slot = Slot(ordered(spec_of()))
    yield slot
    slot.close()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("then", "number"),
    [
        ("waits", signal.SIGKILL),
        pytest.param("waits", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("raises", None, marks=pytest.mark.slow),
        pytest.param("exits", None, marks=pytest.mark.slow),
    ],
)
def test_no_slot_outlives_the_one_that_started_it(then, number):
    command = [sys.executable, "-c", PARENT.format(then=ENDS[then])]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        if number:
            parent.send_signal(number)
        parent.wait()
        end = time.monotonic() + PATIENCE
        while any(map(is_alive, pids)):
            assert time.monotonic() < end, "a slot outlived its parent"
            time.sleep(0.01)
    assert len(pids) == 2


def test_whoever_waits_is_told_when_it_is_closed(slot):
    found = []

    def wait():
        try:
            slot.receive(100)
        except LostError as error:
            found.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    slot.close()
    waiting.join(PATIENCE)
    assert [error.code for error in found] == ["process_died"]
    assert slot.ended


def test_a_slot_that_was_killed_says_so(slot):
    os.kill(slot.pid, signal.SIGKILL)
    with pytest.raises(LostError, match="SIGKILL"):
        slot.receive(100)
    assert slot.ended
    with pytest.raises(LostError):
        slot.send({"number": 1, "ask": "describe"})


def test_one_that_is_lost_while_the_task_is_built_is_started_once_more():
    started = []

    def start():
        started.append(Slot(ordered(spec_of())))
        os.kill(started[-1].pid, signal.SIGKILL)
        return started[-1]

    with pytest.raises(LostError):
        RemoteTask(spec_of(), start)
    assert len(started) == 2
    assert all(slot.ended for slot in started)
