"""Examining what the API is told: who may use it."""

import pytest

from lrtuner.keys import Scope, new_key
from lrtuner.store import keys
from service import doctor


@pytest.fixture
def access(monkeypatch):
    """What is found about access."""

    def call(url, **variables):
        for name, value in {"DATABASE_URL": url, **variables}.items():
            monkeypatch.setenv(f"LRTUNER_{name}", value)
        [found] = doctor.diagnose()
        assert found.check == "access"
        return found

    return call


ELSEWHERE = {"PUBLIC_URL": "https://lr.example.org"}


@pytest.mark.parametrize(
    ("variables", "state", "told"),
    [
        ({}, "ok", "open to this machine alone"),
        (ELSEWHERE, "warning", "no API key yet"),
        ({"AUTH": "required"}, "warning", "no API key yet"),
        ({"AUTH": "open"}, "warning", "may do everything"),
        ({"AUTH": "open"} | ELSEWHERE, "problem", "also at https://lr.example.org"),
    ],
)
def test_without_a_key(access, sqlite_url, variables, state, told):
    found = access(sqlite_url, **variables)
    assert found.state == state
    assert told in found.told
    assert ("lrtuner keys create" in found.remedy) == (state != "ok")


def test_with_a_key_nothing_is_open(access, store, database_url):
    store.do(keys.add_key, new_key(), name="k", scopes=[Scope.READ], seconds=None)
    assert access(database_url, AUTH="open", **ELSEWHERE).state == "ok"


def test_a_database_that_is_missing_is_not_made(access, tmp_path):
    assert access(f"sqlite:///{tmp_path}/none/x.db").state == "ok"
    assert not list(tmp_path.iterdir())


def test_settings_that_are_not_valid(monkeypatch):
    monkeypatch.setenv("LRTUNER_MAX_BODY_BYTES", "many")
    monkeypatch.setenv("LRTUNER_AUTH", "none")
    found = doctor.diagnose()
    assert [item.check for item in found] == ["settings", "settings"]
    assert {item.state for item in found} == {"problem"}
    assert {item.told.partition(":")[0] for item in found} == {
        "LRTUNER_MAX_BODY_BYTES",
        "LRTUNER_AUTH",
    }
