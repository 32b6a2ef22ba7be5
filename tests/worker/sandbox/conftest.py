"""A sandbox in which any Python runs: the test's code in place of the building of a task."""

from textwrap import dedent

import pytest

from worker.sandbox import watch
from worker.sandbox.limits import Limits
from worker.sandbox.process import Sandbox

ENTRY = """
def run(pipe, payload):
    exec(payload["code"], {"pipe": pipe, "tell": lambda what: pipe.send({"told": what}), **payload})
"""

SMALL = {"memory_mb": 96, "answer_seconds": 2.0, "scratch_mb": 8, "processes": 12}

ALL_WALLS: tuple[str, ...] = ()
NO_NAMESPACES = ("pid-namespace",)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a sandbox that runs the code; names given in `known` are known to it."""
    folder = tmp_path / "entry"
    folder.mkdir()
    (folder / "entry.py").write_text(ENTRY)
    monkeypatch.syspath_prepend(folder)
    started: list[Sandbox] = []

    def start(code, *, limits=None, known=None, readable=(), **options):
        sandbox = Sandbox(
            "entry:run",
            {"code": dedent(code), **(known or {})},
            limits=Limits(**{**SMALL, **(limits or {})}),
            readable=[folder, *readable],
            **options,
        )
        started.append(sandbox)
        return sandbox

    yield start
    for sandbox in started:
        sandbox.close()
        assert not watch.session(sandbox.pid), "something is left of it"
        assert not sandbox._scratch.exists()


@pytest.fixture(params=[ALL_WALLS, NO_NAMESPACES], ids=["all-walls", "no-namespaces"])
def skip(request):
    """The walls that are left out: as on a machine that has them, and as in a usual container."""
    return request.param


def needs(sandbox, *walls):
    """Skip where the system has none of these: then they are warned of, and hold nothing back."""
    if not set(walls) & set(sandbox.walls):
        pytest.skip("; ".join(f"{wall}: {sandbox.missing.get(wall)}" for wall in walls))
