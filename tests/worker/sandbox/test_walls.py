"""Every wall by itself: raised where the system has it, told where it is missing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.worker.sandbox.conftest import needs
from worker.sandbox import landlock, watch
from worker.sandbox.errors import CodeError
from worker.sandbox.process import Sandbox
from worker.sandbox.walls import WALLS

ROOT = Path(__file__).parents[3]


FOLLOW = {
    "pid-namespace": {"network-namespace", "ipc-namespace", "mount-namespace", "process-limit"}
    | {"unprivileged-user"},
    "mount-namespace": {"unprivileged-user", "process-limit"},
    "unprivileged-user": {"process-limit"},
    "no-new-privileges": {"landlock", "seccomp"},
}
"""What may be missing together with a wall."""


@pytest.mark.parametrize(
    "wall", sorted({*WALLS} - {"hidden-folders", "network-namespace", "ipc-namespace"})
)
def test_a_missing_wall_is_told_and_the_others_stand(start, wall):
    with_all, without = start("tell(1)"), start("tell(1)", skip=[wall])
    if wall == "unprivileged-user" and os.geteuid() != 0:
        pytest.skip("only root has another user to become")
    assert wall not in without.walls
    [warning] = [text for text in without.warnings if f"without {wall} " in text]
    assert WALLS[wall] in warning
    assert without.receive() == {"told": 1}
    gone = set(with_all.walls) - set(without.walls)
    assert gone - {wall} <= FOLLOW.get(wall, set())


def test_every_wall_is_raised_or_told(start):
    sandbox = start("tell(1)")
    known = set(WALLS) - {"hidden-folders"}
    if os.geteuid() != 0:
        known.discard("unprivileged-user")
    assert {*sandbox.walls, *sandbox.missing} == known | {"watcher"}
    assert len(sandbox.warnings) == len(sandbox.missing)


@pytest.mark.parametrize("alone", ["landlock", "mount-namespace"])
def test_files_are_guarded_twice(start, tmp_path, alone):
    """Each of the two walls suffices, so that each can be seen to work."""
    folder = tmp_path / "project"
    folder.mkdir()
    folder.chmod(0o777)  # or the rights of its user would keep it out already
    skip = {"landlock": ["pid-namespace", "seccomp"], "mount-namespace": ["landlock", "seccomp"]}
    sandbox = start(
        """
        try:
            open(folder + "/new", "w")
            tell("written")
        except OSError:
            tell("refused")
        """,
        known={"folder": str(folder)},
        readable=[folder],
        skip=skip[alone],
    )
    needs(sandbox, alone)
    assert sandbox.receive() == {"told": "refused"}


@pytest.mark.parametrize("alone", ["seccomp", "network-namespace"])
def test_the_network_is_guarded_twice(start, alone):
    skip = {"seccomp": ["pid-namespace", "landlock"], "network-namespace": ["seccomp", "landlock"]}
    sandbox = start(
        """
        import socket
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(b"x", ("192.0.2.1", 9))
            tell("sent")
        except OSError:
            tell("refused")
        """,
        skip=skip[alone],
    )
    needs(sandbox, alone)
    assert sandbox.receive() == {"told": "refused"}


def test_without_any_wall_the_watcher_still_ends_it(start):
    """As on a system that has none of them."""
    code = "import os, time\nfor _ in range(60): os.fork() or time.sleep(20)\ntime.sleep(20)"
    sandbox = start(code, skip=list(WALLS))
    with pytest.raises(CodeError) as caught:
        sandbox.receive()
    assert caught.value.code == "code.too_many_processes"


def test_what_escaped_the_tree_is_still_ended(start):
    """Without seccomp it may leave the group; the session and the tree are searched."""
    sandbox = start(
        """
        import os, time
        if os.fork() == 0:
            os.setpgid(0, 0)
            if os.fork() == 0:
                time.sleep(30)
            os._exit(0)
        os.wait()
        tell("left")
        """,
        skip=["pid-namespace", "seccomp"],
    )
    assert sandbox.receive() == {"told": "left"}
    sandbox.close()
    assert not watch.session(sandbox.pid)


SCRIPT = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from worker.sandbox.process import Sandbox
_, _, folder, code, skip = sys.argv
sandbox = Sandbox("entry:run", {"code": code}, readable=[Path(folder)], skip=json.loads(skip))
print(json.dumps([sandbox.pid, sandbox.walls, sandbox.missing]), flush=True)
print(json.dumps(sandbox.receive()), flush=True)
time.sleep(30)
"""


def test_it_does_not_outlive_a_parent_that_is_killed(start, tmp_path, skip):
    start("tell(1)").receive()  # writes the entry
    folder, code = tmp_path / "entry", "import time; tell(1); time.sleep(30)"
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT), str(folder), code, json.dumps(skip)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(folder)},
        text=True,
    ) as parent:
        pid, _, _ = json.loads(parent.stdout.readline())
        parent.stdout.readline()
        assert watch.session(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while watch.session(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_ordinary_user_has_the_walls_too(start, tmp_path):
    """In a user namespace in which we are somebody, with no right over anything."""
    unshare = shutil.which("unshare")
    start("tell(1)").receive()
    if not unshare or subprocess.run([unshare, "-U", "true"], check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    folder = tmp_path / "entry"
    code = "import os; tell([os.getuid(), os.listdir('/'), os.access('/usr', os.W_OK)])"
    with subprocess.Popen(
        [unshare, "-U", "--map-user=1000", "--map-group=1000", sys.executable, "-c",
         SCRIPT.replace("time.sleep(30)", "sandbox.close()"), str(ROOT), str(folder), code, "[]"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(folder)},
        text=True,
    ) as parent:  # fmt: skip
        _, walls, missing = json.loads(parent.stdout.readline())
        told = json.loads(parent.stdout.readline())["told"]
    assert not missing
    assert "mount-namespace" in walls
    assert told[0] == 1000
    assert "home" not in told[1]
    assert not told[2]


def test_what_does_not_start_says_why(monkeypatch):
    monkeypatch.setattr("worker.sandbox.process._START", "raise SystemExit('no such interpreter')")
    with pytest.raises(CodeError, match="no such interpreter") as caught:
        Sandbox("entry:run", {})
    assert caught.value.code == "code.not_started"


def test_the_version_of_landlock_is_told():
    try:
        assert landlock.version() >= 1
    except OSError as error:
        pytest.skip(f"landlock: {error}")
