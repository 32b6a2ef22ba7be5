"""Examining the database: each thing that can be wrong, and how to mend it."""

import json
import sqlite3
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from lrtuner.diagnosis import Examination
from lrtuner.store import doctor, migrate
from lrtuner.store.level import VERSION_TABLE, newest


@pytest.fixture
def diagnose(monkeypatch):
    """What is found, by check."""

    def call(url=None, **variables):
        for name in ("DATABASE_URL", "DATABASE_PASSWORD", "DATA_DIR"):
            monkeypatch.delenv(f"LRTUNER_{name}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"LRTUNER_{name}", str(value))
        if url:
            monkeypatch.setenv("LRTUNER_DATABASE_URL", url)
        return {item.check: item for item in doctor.diagnose()}

    return call


@pytest.fixture
def sqlite_file(tmp_path):
    path = tmp_path / "lrtuner.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


def test_all_is_well(diagnose, database_url):
    found = diagnose(database_url)
    assert {item.state for item in found.values()} == {"ok"}
    assert "migrations" in found
    assert ("clock" in found) == database_url.startswith("postgresql")


def test_there_is_no_schema(diagnose, empty_database_url):
    if empty_database_url.startswith("sqlite"):
        sqlite3.connect(empty_database_url.removeprefix("sqlite:///")).close()
    found = diagnose(empty_database_url)["migrations"]
    assert (found.state, found.remedy) == ("problem", "run `lrtuner migrate`")
    assert found.told == f"there are no tables; this version needs {newest()}"


@pytest.mark.parametrize(
    ("revision", "state", "remedy"),
    [
        ("0001", "problem", "lrtuner migrate"),
        ("9999", "warning", "update this one"),
        ("cafe01", "problem", "right database"),
    ],
)
def test_the_schema_is_another_versions(diagnose, sqlite_file, revision, state, remedy):
    with migrate.exclusively(f"sqlite:///{sqlite_file}") as connection:
        update = f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"
        connection.execute(sa.text(update))
    found = diagnose(f"sqlite:///{sqlite_file}")["migrations"]
    assert found.state == state
    assert revision in found.told
    assert remedy in found.remedy


def test_a_server_that_is_not_there_is_told_without_the_password(diagnose):
    found = diagnose("postgresql://nobody:hunter2@127.0.0.1:1/none")["database"]
    assert found.state == "problem"
    assert "127.0.0.1:1/none" in found.told
    assert "Connection refused" in found.told
    assert "does PostgreSQL run there" in found.remedy
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "postgresql//u:hunter2@h"])
def test_a_url_that_is_none_is_a_setting_to_mend(diagnose, url):
    [found] = diagnose(url).values()
    assert (found.check, found.state) == ("settings", "problem")
    assert "hunter2" not in repr(found)


def test_a_file_that_is_missing_is_not_made(diagnose, tmp_path, monkeypatch):
    path = tmp_path / "none" / "lrtuner.db"
    found = diagnose(f"sqlite:///{path}")["database"]
    assert (found.state, found.told) == ("problem", f"{path} is not there")
    assert "lrtuner migrate" in found.remedy
    assert not path.parent.exists()
    monkeypatch.chdir(tmp_path)
    assert diagnose()["database"].state == "warning"  # nothing was ever asked for here
    assert not list(tmp_path.iterdir())


def test_a_locked_file(diagnose, sqlite_file, monkeypatch):
    monkeypatch.setattr(doctor, "LOCK_PATIENCE_SECONDS", 0.01)
    other = sqlite3.connect(sqlite_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    found = diagnose(f"sqlite:///{sqlite_file}")["database"]
    other.close()
    assert (found.state, found.told) == ("problem", f"{sqlite_file}: database is locked")
    assert f"fuser {sqlite_file}" in found.remedy


def test_a_file_that_is_no_database(diagnose, tmp_path):
    path = tmp_path / "x.db"
    path.write_text("a text that is long enough to be looked at" * 100)
    found = diagnose(f"sqlite:///{path}")["database"]
    assert (found.state, found.told) == ("problem", f"{path}: file is not a database")
    assert "backup" in found.remedy


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/fast ext4 rw 0 0
//server/x /mnt/a\\040b cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x.db", None),
        ("/home/x.db", "nfs4"),
        ("/home/fast/x.db", None),
        ("/homes/x.db", None),
        ("/mnt/a b/x.db", "cifs"),
    ],
)
def test_network_shares_are_known_by_their_mount(path, kind):
    assert doctor.network_share(Path(path), MOUNTS) == kind


def test_a_file_on_a_network_share(diagnose, sqlite_file, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS + f"server:/x {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr(doctor, "_MOUNTS", mounts)
    found = diagnose(f"sqlite:///{sqlite_file}")["database"]
    assert found.state == "problem"
    assert "network share (nfs)" in found.told
    assert "PostgreSQL" in found.remedy


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("seconds", "where"), [(60.0, "behind"), (-60.0, "ahead of")])
def test_clocks_that_differ(diagnose, database_url, monkeypatch, seconds, where):
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + seconds)
    found = diagnose(database_url)["clock"]
    assert found.state == "warning"
    assert found.told == f"the database's clock is 60 s {where} this machine's"


def test_it_is_handed_on_as_json(diagnose, capsys, sqlite_file):
    diagnose(f"sqlite:///{sqlite_file}")
    assert doctor.main() == 0
    text = capsys.readouterr().out
    assert Examination.parsed(text).text() == text.strip()
    assert "LRTUNER_DATABASE_PASSWORD" in json.loads(text)["variables"]
