"""What a worker runs of code that is not ours, and behind which walls."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from lrtuner.errors import JobFailedError
from tests.worker.code.conftest import PLAIN, code_spec, project, uploaded
from tests.worker.conftest import CPU, spec_of
from worker.rules import Rules, rules_of
from worker.sandbox.errors import CodeError
from worker.sandbox.trainer import SandboxedTask
from worker.sandbox.walls import WALLS, not_standing
from worker.sandboxed import trained_in
from worker.settings import Settings

ID = "sha256:" + "0" * 64
UPLOADED = {"source": "code", "id": ID}
INSTALLED = {"source": "entrypoint", "target": "package.tasks:build"}
DEFAULT = Settings.model_fields["code_walls"].default


def refused(spec, **rules):
    with pytest.raises(JobFailedError) as caught, trained_in(Rules(**rules), spec, CPU):
        pass
    return caught.value.code, str(caught.value)


def test_uploaded_code_is_off_by_default():
    told = "model.source: this worker runs no uploaded code (LRTUNER_CODE)"
    found = refused(code_spec(model=UPLOADED), sandbox=True, **given(rules_of(Settings())))
    assert found == ("code.not_allowed", told)


def given(rules):
    """The rules but for `sandbox`."""
    return {name: value for name, value in rules if name != "sandbox"}


@pytest.mark.parametrize("entrypoints", ["", "other.*", "package.tasks:other"])
def test_an_entrypoint_is_run_only_where_it_is_listed(entrypoints):
    code, told = refused(code_spec(model=INSTALLED), entrypoints=entrypoints, code=True)
    assert (code, "LRTUNER_ENTRYPOINTS" in told) == ("code.not_allowed", True)
    allowed = Rules(entrypoints="x.y:z, package.*")
    with trained_in(allowed, code_spec(model=INSTALLED), CPU) as task:
        assert task is None, "trusted: trained in this process"


def test_code_that_is_not_there_or_has_changed(tmp_path):
    spec = code_spec(model=UPLOADED)
    _, told = refused(spec, code=True, data_dir=str(tmp_path))
    assert f"model.id: code {ID} is not in" in told
    code_id = uploaded(tmp_path, project(tmp_path / "project", PLAIN))
    [kept] = (tmp_path / "code").iterdir()
    kept.write_bytes(kept.read_bytes() + b"x")
    spec = code_spec(model={**UPLOADED, "id": code_id})
    assert "has changed on disk" in refused(spec, code=True, data_dir=str(tmp_path))[1]
    assert "names no uploaded code" in refused(code_spec(), code=True)[1]


def test_what_is_built_in_needs_no_rule():
    with trained_in(Rules(), spec_of(), CPU) as task:
        assert task is None


@pytest.mark.parametrize(
    ("raised", "missing"),
    [
        (["seccomp", "landlock"], []),  # as in Docker
        (["network-namespace", "mount-namespace"], []),
        (["network-namespace", "landlock", "watcher"], []),
        (["seccomp", "watcher"], ["mount-namespace or landlock"]),
        ([], ["network-namespace or seccomp", "mount-namespace or landlock"]),
    ],
    ids=str,
)
def test_the_usual_demand_is_no_network_and_no_files(raised, missing):
    assert not_standing(DEFAULT, raised) == missing
    assert not_standing("", raised) == []
    assert not_standing(", ".join(raised), raised) == []


def test_a_demand_must_name_walls(monkeypatch):
    monkeypatch.setenv("LRTUNER_CODE_WALLS", "seccomp|moat")
    with pytest.raises(ValidationError, match=f"'moat' is no wall; there are {next(iter(WALLS))}"):
        Settings()


def test_nothing_is_asked_of_a_sandbox_that_lacks_a_wall():
    asked, closed = [], []
    sandbox = SimpleNamespace(
        walls=["seccomp"],
        missing={"landlock": "no such system call"},
        warnings=[],
        ended=False,
        send=asked.append,
        close=lambda: closed.append(True),
    )
    with pytest.raises(
        CodeError, match="not run here without mount-namespace or landlock"
    ) as found:
        SandboxedTask(spec_of(), lambda _entry, _payload: sandbox, wanted=DEFAULT)
    assert found.value.code == "code.wall_missing"
    assert "landlock: no such system call" in str(found.value)
    assert (asked, closed) == ([], [True])
