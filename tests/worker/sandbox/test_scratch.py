"""Folders for a while: what a killed process leaves is removed, what is in use is not."""

import os
import time

import pytest

from worker.sandbox.scratch import Scratch

PREFIX = "lrtuner-test-"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def old(path):
    os.utime(path, (time.time() - 100,) * 2)


def test_it_is_there_until_it_is_closed():
    scratch = Scratch(PREFIX)
    (scratch.path / "file").write_text("")
    scratch.close()
    scratch.close()
    assert not scratch.path.exists()


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    left, fresh, another = (tmp_path / name for name in (f"{PREFIX}a", f"{PREFIX}b", "another"))
    for path in (left, fresh, another):
        path.mkdir()
        (path / "file").write_text("")
    (tmp_path / f"{PREFIX}link").symlink_to(another)
    used = Scratch(PREFIX)
    for path in (left, another, used.path):
        old(path)
    with Scratch(PREFIX) as newest:
        remaining = {path.name for path in tmp_path.iterdir()}
        expected = {fresh.name, "another", f"{PREFIX}link", used.path.name, newest.name}
        assert remaining == expected
    assert (another / "file").exists()
    used.close()
