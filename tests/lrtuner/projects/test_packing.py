"""Folders become zip files: the right files of them, always the same bytes."""

import os
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from lrtuner.datasets.folder import sha256
from lrtuner.errors import InvalidCodeError, NotFoundError
from lrtuner.projects import Limits, find_project, pack, project_path, unpack


@pytest.fixture
def folder(tmp_path) -> Path:
    return project(tmp_path / "project", "lrtune.py", "model/net.py")


def project(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return folder


def packed(folder: Path, limits: Limits | None = None):
    return pack(folder, folder.parent / "project.zip", limits)


def names(folder: Path) -> list[str]:
    return [file.path for file in packed(folder).files]


def left_out(folder: Path) -> dict[str, str]:
    return dict(packed(folder).left_out)


def test_what_is_packed_comes_back(folder, tmp_path):
    (folder / "run.sh").write_bytes(b"\x00binary\xff")
    (folder / "run.sh").chmod(0o700)
    told = packed(folder)
    unpack(tmp_path / "project.zip", tmp_path / "out")
    assert [file.path for file in told.files] == ["lrtune.py", "model/net.py", "run.sh"]
    for path, size in told.files:
        assert (tmp_path / "out" / path).read_bytes() == (folder / path).read_bytes()
        assert (tmp_path / "out" / path).stat().st_size == size
        assert (tmp_path / "out" / path).stat().st_mode & 0o777 == 0o644
    assert told.num_bytes == sum(size for _, size in told.files)


def test_the_same_content_has_the_same_hash_whenever_and_wherever(folder, tmp_path):
    other = project(tmp_path / "elsewhere" / "copy", "model/net.py", "lrtune.py")
    os.utime(other / "lrtune.py", (time.time() - 1e6,) * 2)
    (other / "lrtune.py").chmod(0o755)
    packed(folder)
    packed(other)
    assert sha256(tmp_path / "project.zip") == sha256(tmp_path / "elsewhere" / "project.zip")
    (other / "lrtune.py").write_text("# another\n")
    packed(other)
    assert sha256(tmp_path / "project.zip") != sha256(tmp_path / "elsewhere" / "project.zip")


def test_the_hash_of_a_known_project_never_changes(folder, tmp_path):
    packed(folder)
    assert sha256(tmp_path / "project.zip") == (
        "sha256:8ec97db747d018c827881fe48da342f835733404686e50bc7be453afbb0b478f"
    )


@pytest.mark.parametrize(
    ("rules", "files", "expected"),
    [
        ({".gitignore": "*.log"}, ["a.log", "model/b.log"], []),
        ({".gitignore": "/a.log"}, ["a.log", "model/a.log"], ["model/a.log"]),
        ({".gitignore": "data/"}, ["data/x", "model/data/y", "sub/data"], ["sub/data"]),
        ({".gitignore": "*.log\n!keep.log"}, ["a.log", "keep.log"], ["keep.log"]),
        ({".gitignore": "data/\n!data/keep"}, ["data/keep"], []),
        ({".gitignore": "# no\n\n  \n\\#odd"}, ["#odd", "no"], ["no"]),
        ({".gitignore": "**/cache/*"}, ["a/cache/x", "cache/y", "cachet"], ["cachet"]),
        (
            {".gitignore": "*.log", "sub/.gitignore": "!b.log"},
            ["sub/a.log", "sub/b.log"],
            ["sub/b.log"],
        ),
        ({"sub/.gitignore": "/x\ny"}, ["sub/x", "sub/z/x", "sub/z/y", "x"], ["sub/z/x", "x"]),
        ({"sub/.gitignore": "*"}, ["sub/x", "other/x"], ["other/x"]),
        ({".gitignore": "*.[oa]\nlib?.py"}, ["m.o", "lib1.py", "lib.py"], ["lib.py"]),
    ],
)
def test_gitignore_files_are_respected_as_git_does(folder, rules, files, expected):
    project(folder, *files)
    for name, text in rules.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    found = {name for name in names(folder) if not name.endswith(".gitignore")}
    assert found - {"lrtune.py", "model/net.py"} == set(expected)
    subprocess.run(["git", "init", "-q", folder], check=True)
    listed = ["git", "-C", folder, "ls-files", "--others", "--exclude-standard"]
    assert set(names(folder)) == set(subprocess.check_output(listed, text=True).split("\n")) - {""}


def test_the_rules_of_the_repository_above_count_and_those_above_it_do_not(folder, tmp_path):
    project(folder, "a.log", "b.tmp")
    (tmp_path / ".gitignore").write_text("*.log")
    assert "a.log" in names(folder)
    (tmp_path / ".git").mkdir()
    assert names(folder) == ["b.tmp", "lrtune.py", "model/net.py"]
    assert left_out(folder) == {"a.log": "ignored by ../.gitignore"}
    (folder / ".git").mkdir()
    assert "a.log" in names(folder)


@pytest.mark.parametrize(
    "name",
    [".git/config", ".venv/pyvenv.cfg", "my-env/pyvenv.cfg", "model/__pycache__/net.py",
     ".lrtuner/lrtuner.db", "model/net.pyc"],
)  # fmt: skip
def test_some_things_are_never_packed(folder, name):
    project(folder, name)
    (folder / ".gitignore").write_text("!*")
    assert names(folder) == [".gitignore", "lrtune.py", "model/net.py"]
    assert set(left_out(folder).values()) == {"never packed"}


def test_links_are_packed_as_what_they_lead_to_and_only_if_that_is_packed(folder, tmp_path):
    project(folder, "secret.txt")
    (folder / ".gitignore").write_text("secret.txt")
    (tmp_path / "outside").write_text("outside")
    links = {"net.py": "model/net.py", "out": "../outside", "abs": "/etc/passwd", "lost": "nothing",
             "loop": "loop", "dir": "model", "up": "..", "ignored": "secret.txt"}  # fmt: skip
    for name, target in links.items():
        (folder / name).symlink_to(target)
    assert names(folder) == [".gitignore", "lrtune.py", "model/net.py", "net.py"]
    reasons = left_out(folder)
    assert set(reasons) == {"out", "abs", "lost", "loop", "dir", "up", "ignored", "secret.txt"}
    assert reasons["out"] == "a link that leads to no packed file"
    unpack(tmp_path / "project.zip", tmp_path / "unpacked")
    assert not (tmp_path / "unpacked" / "net.py").is_symlink()
    assert (tmp_path / "unpacked" / "net.py").read_text() == "# model/net.py\n"


def test_what_is_no_file_is_left_out(folder):
    os.mkfifo(folder / "pipe")
    assert left_out(folder) == {"pipe": "no plain file"}


def test_a_project_that_is_too_large_names_its_largest_files(folder):
    (folder / "weights.bin").write_bytes(b"0" * 3000)
    with pytest.raises(
        InvalidCodeError, match=r"Add to \.gitignore .* weights\.bin \(3000 bytes\)"
    ):
        packed(folder, Limits(total_bytes=2000))
    with pytest.raises(InvalidCodeError, match=r"3 files .* at most 2 files"):
        packed(folder, Limits(entries=2))
    packed(folder, Limits(entries=3, total_bytes=4000))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "lrtune.py").unlink(), "there is no lrtune.py in it"),
        (
            lambda folder: (folder / ".gitignore").write_text("*.py"),
            "lrtune.py is left out: ignored by .gitignore",
        ),
        (lambda folder: (folder / "a\nb").touch(), "cannot be printed"),
        (lambda folder: os.close(os.open(os.fsencode(folder) + b"/\xff", os.O_CREAT)), "printed"),
        (lambda folder: project(folder, "README", "ReadMe"), "there twice"),
        (lambda folder: project(folder, "a\\b"), "forward slashes"),
        (lambda folder: (folder / "lrtune.py").write_bytes(b"#" * 1024**2 + b"#"), "1048576 bytes"),
    ],
)
def test_a_folder_that_is_no_project_is_refused(folder, change, told):
    change(folder)
    with pytest.raises(InvalidCodeError, match=told):
        packed(folder)


def test_there_has_to_be_a_folder(tmp_path):
    with pytest.raises(InvalidCodeError, match="there is no folder"):
        packed(tmp_path / "nowhere")


def test_a_stored_project_is_found_by_its_hash_alone(folder, tmp_path):
    packed(folder)
    code_id = sha256(tmp_path / "project.zip")
    with pytest.raises(NotFoundError, match="LRTUNER_DATA_DIR"):
        find_project(tmp_path, code_id)
    path = project_path(tmp_path, code_id)
    path.parent.mkdir()
    path.write_bytes((tmp_path / "project.zip").read_bytes())
    assert find_project(tmp_path, code_id) == path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InvalidCodeError, match="changed on disk"):
        find_project(tmp_path, code_id)


def test_an_archive_has_no_times_and_no_modes(folder, tmp_path):
    packed(folder)
    with zipfile.ZipFile(tmp_path / "project.zip") as opened:
        for info in opened.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.external_attr == 0o100644 << 16
