"""Examining what the API is told: who may use it."""

import pytest

from lrtuner.keys import Scope, new_key
from lrtuner.store import keys
from service import doctor
from service.settings import Settings


@pytest.fixture
def access(monkeypatch):
    """What is found about access."""

    def call(url, **variables):
        for name, value in {"DATABASE_URL": url, **variables}.items():
            monkeypatch.setenv(f"LRTUNER_{name}", value)
        [found] = [item for item in doctor.diagnose() if item.check == "access"]
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


def test_keys_of_which_none_can_be_used(access, store, database_url):
    store.do(keys.add_key, new_key(), name="gone", scopes=[Scope.READ], seconds=-1.0)
    found = access(database_url)
    assert found.state == "warning"
    assert "of 1 key none can be used" in found.told
    store.do(keys.add_key, new_key(), name="k", scopes=[Scope.READ], seconds=30 * 86400.0)
    assert access(database_url).state == "ok"


def test_a_key_that_expires_soon_is_named(access, store, database_url):
    store.do(keys.add_key, new_key(), name="later", scopes=[Scope.READ], seconds=8 * 86400.0)
    store.do(keys.add_key, new_key(), name="soon", scopes=[Scope.READ], seconds=6 * 86400.0)
    found = access(database_url)
    assert found.state == "warning"
    assert "soon (" in found.told
    assert "later" not in found.told


SECRET = "whsec_" + "A" * 32


@pytest.mark.parametrize(
    ("settings", "states", "told"),
    [
        ({}, ["ok"], "only from jobs that bring a secret"),
        ({"webhook_secret": SECRET, "public_url": "https://x"}, ["ok"], "to public addresses"),
        ({"webhook_secret": SECRET}, ["ok", "warning"], "the links in their messages are bare"),
        ({"webhook_allow": "10.1.0.0/16"}, ["ok"], "public addresses and to 10.1.0.0/16"),
        ({"webhook_allow": "169.254.0.0/16"}, ["warning"], "among them 169.254.169.254, where"),
        ({"webhook_allow": "10.0.0.0/8,::/0"}, ["warning"], "fd00:ec2::254"),
    ],
)
def test_webhooks(settings, states, told):
    found = list(doctor.webhooks(Settings(**settings)))
    assert [item.state for item in found] == states
    assert told in found[-1].told
    assert SECRET not in str(found)


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
