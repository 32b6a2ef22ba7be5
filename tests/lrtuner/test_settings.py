"""Settings: what the processes share, secrets from files, and what is never repeated."""

import os
import re

import pytest

from lrtuner.errors import DatabaseDownError, InvalidInputError
from lrtuner.settings import (
    SharedSettings,
    from_environment,
    url_from_environment,
    without_database,
)
from lrtuner.store import migrate, open_database
from service.settings import Settings as ServiceSettings
from worker.settings import Settings as WorkerSettings

KINDS = (ServiceSettings, WorkerSettings)


@pytest.fixture
def environment(monkeypatch):
    """Set variables, with nothing else of ours set."""
    for name in list(os.environ):
        if name.startswith("LRTUNER_"):
            monkeypatch.delenv(name)

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"LRTUNER_{name}", str(value))

    return put


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "sqlite:///.lrtuner/lrtuner.db"),
        ({"DATA_DIR": "/data"}, "sqlite:////data/lrtuner.db"),
        ({"DATA_DIR": ""}, "sqlite:///.lrtuner/lrtuner.db"),
        ({"DATABASE_URL": "postgresql://u@h/d", "DATA_DIR": "/data"}, "postgresql://u@h/d"),
        ({"DATABASE_URL": "", "DATA_DIR": "relative/"}, "sqlite:///relative/lrtuner.db"),
    ],
)
def test_every_process_finds_the_same_database(environment, values, url):
    environment(**values)
    assert {from_environment(kind).database_url for kind in KINDS} == {url}
    assert url_from_environment() == url


def test_what_both_are_told_is_said_once():
    own = [set(kind.model_fields) - set(SharedSettings.model_fields) for kind in KINDS]
    assert not own[0] & own[1]
    assert all(
        kind.model_fields[name].description == field.description
        for name, field in SharedSettings.model_fields.items()
        for kind in KINDS
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_described(kind):
    assert all(field.description for field in kind.model_fields.values())


def test_a_setting_by_file(environment, tmp_path):
    file = tmp_path / "url"
    file.write_text("postgresql://u:secret@h/d\n")
    environment(DATABASE_URL_FILE=file)
    assert {from_environment(kind).database_url for kind in KINDS} == {"postgresql://u:secret@h/d"}
    (tmp_path / "level").write_text("loud")
    environment(LOG_LEVEL_FILE=tmp_path / "level")
    with pytest.raises(InvalidInputError, match=r"LRTUNER_LOG_LEVEL: .* \(got 'loud'\)"):
        from_environment(WorkerSettings)


def test_a_password_of_any_characters_by_file(environment, tmp_path):
    password = " p@ss/w:rd%20#?\u00fc'"
    file = tmp_path / "password"
    file.write_text(password + "\n")
    environment(DATABASE_PASSWORD_FILE=file, DATABASE_URL="postgresql://u@h:5432/d?sslmode=prefer")
    database = open_database(url_from_environment())
    assert database.url.password == password
    assert (database.url.host, database.url.port, database.url.database) == ("h", 5432, "d")
    assert dict(database.url.query) == {"sslmode": "prefer"}
    assert str(database) == "postgresql+psycopg://u:***@h:5432/d"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"DATABASE_PASSWORD": "secret"}, "LRTUNER_DATABASE_URL: a SQLite file has no password"),
        (
            {"DATABASE_PASSWORD": "secret", "DATABASE_URL": "postgresql://u:secret@h/d"},
            "LRTUNER_DATABASE_URL: must name a user and no password",
        ),
        ({"DATABASE_PASSWORD": "secret", "DATABASE_URL": "postgresql://h/d"}, "must name a user"),
        (
            {"DATABASE_URL": "postgresql://u:secret@h/d", "DATABASE_URL_FILE": "/x"},
            "LRTUNER_DATABASE_URL and LRTUNER_DATABASE_URL_FILE are both set",
        ),
        (
            {"DATABASE_PASSWORD_FILE": "/no/such"},
            "LRTUNER_DATABASE_PASSWORD_FILE=/no/such: cannot read it: No such file or directory",
        ),
        ({"PUBLIC_URL": "x.org"}, "LRTUNER_PUBLIC_URL: must start with http:// or https://"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_is_told_without_secrets(environment, kind, values, told):
    environment(**values)
    with pytest.raises(InvalidInputError, match=re.escape(told)) as refused:
        from_environment(kind)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_are_not_shown(environment, kind):
    environment(DATABASE_URL="postgresql://u@h/d", DATABASE_PASSWORD="hunter2")
    assert "hunter2" not in repr(from_environment(kind))
    assert "hunter2" in from_environment(kind).database_url


def test_processes_that_need_no_database_do_not_get_its_password():
    given = {
        "LRTUNER_DATABASE_URL": "x",
        "LRTUNER_DATABASE_URL_FILE": "x",
        "LRTUNER_DATABASE_PASSWORD": "x",
        "LRTUNER_DATABASE_PASSWORD_FILE": "x",
        "LRTUNER_DEVICE": "cpu",
    }
    assert without_database(given) == {"LRTUNER_DEVICE": "cpu"}


def test_a_refused_password_is_in_no_message(environment, capsys):
    environment(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", DATABASE_PASSWORD="hunter2")
    with pytest.raises(DatabaseDownError) as down:
        migrate.upgrade(url_from_environment())
    assert "hunter2" not in str(down.value) + repr(down.value.__cause__)
    assert migrate.main([]) == 2
    assert "hunter2" not in "".join(capsys.readouterr())
