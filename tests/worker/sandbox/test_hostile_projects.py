"""Whole projects that mean harm, as jobs: each is contained, told with its reason, none stays.

They go the way of a job from its upload on: unpacked, built in a sandbox, trained, removed.
"""

import socket
import tempfile
import time
from textwrap import dedent, indent

import pytest

from lrtuner.errors import JobFailedError
from tests.worker.code.conftest import STEPPED, project, uploaded
from tests.worker.conftest import CPU, ListJournal, pipeline_of, spec_of
from worker.rules import Rules
from worker.sandbox.limits import Limits
from worker.sandboxed import trained_in

SECRET = "postgresql://user:hunter2@db/lrtuner"
LIMITS = Limits(memory_mb=1200, answer_seconds=30.0, scratch_mb=16, processes=32)

# what each does within `build`; `known` is what the test tells it, in the arguments of the job
ACTS = {
    "read the database URL": """
        import glob
        found = [str(dict(os.environ))]
        for path in [known["database"], *glob.glob("/proc/[0-9]*/environ")]:
            try:
                found.append(open(path).read())
            except OSError:
                pass
        assert "hunter2" not in str(found), "found the secret"
        raise RuntimeError("there is no secret to be found")
    """,
    "open a socket": """
        import socket
        socket.create_connection(("127.0.0.1", known["port"]), timeout=5).sendall(b"hello")
    """,
    "write outside its folder": """
        written = []
        folder = context.folder
        for path in [known["database"], known["outside"], folder / "new", folder / "lrtune.py",
                     "/usr/new", os.path.expanduser("~root/new")]:
            try:
                open(path, "w").write("x")
                written.append(str(path))
            except OSError:
                pass
        raise RuntimeError(f"wrote {written}")
    """,
    "fork without end": """
        for _ in range(2000):  # it ends by itself where a wall fails
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
        time.sleep(20)
    """,
    "allocate without end": """
        held = []
        for _ in range(40):  # 4 GB where a wall fails
            held.append(b"x" * 100_000_000)
            time.sleep(0.02)
    """,
    "exit hard": "os._exit(7)",
    "sleep for ever": "time.sleep(1000)",
    "fill the disk": """
        with open("large", "wb") as file:
            for _ in range(64):
                file.write(bytes(1 << 20))
    """,
    "raise": "raise KeyError('nothing here')",
    "return garbage": "return [context] * 1000",
    "exit politely": "import sys; sys.exit(5)",
}

TOLD = {
    "read the database URL": ("code.failed", "there is no secret to be found"),
    "open a socket": ("code.failed", "Error"),
    "write outside its folder": ("code.failed", "wrote []"),
    "fork without end": (None, ""),
    "allocate without end": (None, "emory"),
    "exit hard": ("code.crashed", "status 7"),
    "sleep for ever": ("code.timed_out", "gave no answer within"),
    "fill the disk": ("code.failed", "Error"),
    "raise": ("code.failed", "KeyError: 'nothing here'; at lrtune.py, line"),
    "return garbage": ("code.invalid_task", "it gave of type list of 1000"),
    "exit politely": ("code.failed", "SystemExit: 5; at lrtune.py, line"),
}

# the others with the slow tests: each starts a process that imports torch
QUICK = {"exit hard"}


def project_that(name):
    """The good project, whose `build` does that first."""
    body = indent(dedent(ACTS[name]).strip("\n"), "    ")
    act = f"def act(context, known):\n{body}\n"
    good = STEPPED.replace(
        "def build(context):\n",
        "def build(context):\n    done = act(context, context.args)\n"
        "    if done is not None:\n        return done\n",
    )
    return f"import os, time\n{good}\n{act}"


@pytest.fixture
def job_of_code(tmp_path, monkeypatch):
    """Train a project as the worker's child does; the text of its recommendation."""
    monkeypatch.setenv("LRTUNER_DATABASE_URL", SECRET)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    data_dir = tmp_path / "data"
    for folder in (data_dir, tmp_path / "tmp"):
        folder.mkdir()
    (data_dir / "lrtuner.db").write_text(SECRET)

    def run(code, known=None, **limits):
        folder = project(tmp_path / "project", code)
        model = {"source": "code", "id": uploaded(data_dir, folder), "args": known or {}}
        spec = spec_of(
            model=model,
            dataset={"source": "code"},
            search={"mode": "range_test", "budget": {"full_runs": 1}},
        )
        rules = Rules(
            code=True,
            limits=LIMITS.model_copy(update=limits),
            data_dir=str(data_dir),
            walls="network-namespace|seccomp,mount-namespace|landlock",
        )
        pipeline = pipeline_of(spec, ListJournal())
        with trained_in(rules, spec, CPU) as task:
            pipeline.task = task
            return pipeline.run().text()

    return run


@pytest.mark.parametrize(
    "act", [a if a in QUICK else pytest.param(a, marks=pytest.mark.slow) for a in ACTS]
)
def test_it_is_contained_and_told(job_of_code, tmp_path, act):
    database = tmp_path / "data" / "lrtuner.db"
    outside = tmp_path / "outside"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        known = {
            "database": str(database),
            "outside": str(outside),
            "port": server.getsockname()[1],
        }
        limits = {"answer_seconds": 8.0} if act == "sleep for ever" else {}
        began = time.monotonic()
        with pytest.raises(JobFailedError) as caught:
            job_of_code(project_that(act), known, **limits)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert time.monotonic() - began < 60
    code, words = TOLD[act]
    assert words in str(caught.value)
    assert code in (None, caught.value.code)
    assert "hunter2" not in str(caught.value)
    assert database.read_text() == SECRET
    assert not outside.exists()
    assert not list((tmp_path / "tmp").iterdir())
    assert job_of_code(STEPPED), "the next one runs"
