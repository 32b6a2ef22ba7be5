"""Every hostile archive of code is refused, the service keeps serving, and nothing of it stays."""

import io
import zipfile

import pytest

from lrtuner.errors import InvalidCodeError
from lrtuner.projects import Limits, checked, contents, unpack
from service.inspecting import refused_code
from tests.service.barrage import sent, tree
from tests.service.conftest import Checked
from tests.service.hostile_code import ARCHIVES, GOOD, NAMES, PLAIN

UPLOADS = {
    **{name: (body, {}) for name, body in ARCHIVES.items()},
    **{f"called {name!r:.40}": (PLAIN, {"filename": name}) for name in NAMES},
}

#: Also through the process that checks uploads, which costs a second each.
APART = ["bomb", "too many entries", "out of the folder", "nested deeply", "a number without end"]

#: What unpacking does not look at: whether `lrtune.py` is Python, and files that are empty.
ONLY_CHECKED = {
    "no Python", "Python 2", "NUL in it", "not UTF-8", "an encoding that is none",
    "nested deeply", "operators without end", "a number without end",
}  # fmt: skip


def checked_here(path):
    """What the process apart does, without the process."""
    try:
        return checked(path)
    except InvalidCodeError as error:
        raise refused_code(str(error), error.where) from None


@pytest.fixture(scope="module")
def outcome(_sqlite_template, tmp_path_factory):
    """All of them sent to one service that checks in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.routes.code.checked_code", checked_here)
        around = tmp_path_factory.mktemp("around")
        return sent(around, _sqlite_template, "/v1/code", UPLOADS, (PLAIN, {}), code=True)


@pytest.mark.parametrize("name", UPLOADS)
def test_it_is_refused_with_a_reason(outcome, name):
    answer = Checked(lambda *_args: outcome.answers[name]).post("/v1/code")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] in ("invalid_code", "invalid_input")
    assert len(problem["detail"]) < 1500
    assert problem["detail"].isprintable()
    assert "Traceback" not in problem["detail"]
    assert problem["errors"]


@pytest.mark.parametrize("name", APART)
def test_it_is_refused_by_the_process_apart_as_well(start, sqlite_url, tmp_path, name):
    client = start(database_url=sqlite_url, data_dir=tmp_path / "data", code=True)
    answer = client.post("/v1/code", content=ARCHIVES[name])
    assert answer.status_code == 422
    assert "breaks what reads it" not in answer.json()["detail"]  # no crash had to be contained
    assert tree(tmp_path / "data") == ["code"]


@pytest.mark.parametrize("name", sorted(set(ARCHIVES) - ONLY_CHECKED))
def test_a_worker_would_not_unpack_it_either(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(ARCHIVES[name])
    with pytest.raises(InvalidCodeError):
        unpack(tmp_path / "a.zip", tmp_path / "around" / "project")
    inside = [path for path in tree(tmp_path) if not path.startswith("around/project/")]
    assert inside == ["a.zip", "around", "around/project"]
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_what_is_refused_by_its_directory_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "a.zip").write_bytes(ARCHIVES["bomb"])
    with pytest.raises(InvalidCodeError, match=r"'zeros'.*200 times"):
        unpack(tmp_path / "a.zip", tmp_path / "project")
    assert tree(tmp_path / "project") == []


def test_nothing_is_left_behind(outcome):
    assert outcome.after == outcome.before == ["data", "data/code"]
    assert outcome.appeared == []


def test_the_service_still_serves(outcome):
    assert outcome.last.status_code == 201


def test_there_are_enough_of_them():
    assert len(UPLOADS) >= 40


def test_the_entry_is_named(outcome):
    told = outcome.answers["out of the folder"].json()
    assert told["errors"][0]["value"] == {"entry": "'../evil.py'"}
    assert "'../evil.py': its name leads out of the folder" in told["detail"]
    told = outcome.answers["no Python"].json()
    assert told["errors"][0]["value"] == {"entry": "lrtune.py", "line": 2}
    told = outcome.answers["lrtune.py in a folder"].json()
    assert "there is 'project/lrtune.py'" in told["detail"]


def test_a_folder_that_is_in_use_is_not_written_to(tmp_path):
    (tmp_path / "a.zip").write_bytes(PLAIN)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "lrtune.py").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="not empty"):
        unpack(tmp_path / "a.zip", tmp_path / "project")


def test_sizes_are_counted_and_not_believed(tmp_path):
    (tmp_path / "a.zip").write_bytes(PLAIN)
    with pytest.raises(InvalidCodeError, match="more than 20 bytes"):
        contents(tmp_path / "a.zip", Limits(total_bytes=20))
    with pytest.raises(InvalidCodeError, match="more than 100 bytes"):
        contents(tmp_path / "a.zip", Limits(archive_bytes=100))
    assert contents(tmp_path / "a.zip") == [("lrtune.py", len(GOOD))]


def test_what_is_written_is_counted_whatever_the_directory_said(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(PLAIN)
    unchecked = lambda opened, _limits, total: opened.infolist()  # noqa: E731
    monkeypatch.setattr("lrtuner.projects.unpacking.zipped.files", unchecked)
    with pytest.raises(InvalidCodeError, match="more than 20 bytes"):
        unpack(tmp_path / "a.zip", tmp_path / "project", Limits(total_bytes=20))
    assert (tmp_path / "project" / "lrtune.py").stat().st_size <= 20


def test_harmless_oddities_are_taken(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a/", b"")
        opened.writestr("a/b/", b"")
        opened.writestr("a/ü.py", b"")
        opened.writestr("A/x.py", b"x")
        opened.writestr("lrtune.py", b"# coding: latin-1\n# \xe9\n")
        opened.writestr(".hidden/..x", b"x")
        opened.comment = b"a comment"
    (tmp_path / "a.zip").write_bytes(file.getvalue())
    checked(tmp_path / "a.zip")
    unpack(tmp_path / "a.zip", tmp_path / "out")
    found = [path for path in tree(tmp_path / "out") if (tmp_path / "out" / path).is_file()]
    assert found == [".hidden/..x", "A/x.py", "a/ü.py", "lrtune.py"]
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "out").rglob("*") if p.is_dir()} == {
        0o755
    }
