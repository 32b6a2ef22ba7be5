"""What is remembered of keys and jobs, and for how long."""

import pytest

from lrtuner.errors import NotFoundError
from lrtuner.keys import Scope, new_key
from lrtuner.store import keys
from service.remembered import Remembered
from service.storage import Storage

SECONDS = 1.0


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def remembered(store, clock):
    return Remembered(Storage(store.database), seconds=SECONDS, clock=lambda: clock[0])


@pytest.fixture
def key_id(store):
    key = new_key()
    store.do(keys.add_key, key, name="k", scopes=[Scope.READ])
    return key.id


def status(remembered, key_id):
    standing = remembered.standing(key_id) or remembered.look_up(key_id)
    return standing.key and standing.key.status


def test_a_revoked_key_works_for_a_moment_at_most(remembered, clock, store, key_id):
    assert status(remembered, key_id) == "active"
    store.do(keys.revoke_key, key_id)
    clock[0] += SECONDS * 0.99
    assert status(remembered, key_id) == "active"
    clock[0] += SECONDS * 0.02
    assert status(remembered, key_id) == "revoked"


def test_a_service_without_keys_is_closed_a_moment_after_the_first(remembered, clock, store):
    assert remembered.look_up(None).is_open
    store.do(keys.add_key, new_key(), name="k", scopes=[Scope.READ])
    assert remembered.standing(None).is_open
    clock[0] += SECONDS
    assert remembered.standing(None) is None
    assert not remembered.look_up(None).is_open
    assert remembered.standing(None) is None


def test_guesses_are_not_remembered(remembered, key_id):
    for guess in (new_key().id, None):
        assert remembered.look_up(guess).key is None
        assert remembered.standing(guess) is None


def test_a_use_is_known_when_it_was_written_down(remembered, key_id):
    assert not remembered.look_up(key_id).key.used_lately
    remembered.touch(key_id)
    assert remembered.standing(key_id) is None
    assert remembered.look_up(key_id).key.used_lately


def test_whose_a_job_is_is_remembered_and_whose_it_is_not_is_not(remembered, store):
    job_id = store.enqueue(team="a")
    for team, missing in (("b", job_id), ("a", "job_none")):
        with pytest.raises(NotFoundError, match=missing):
            remembered.require_own(team, missing)
        assert not remembered.is_own(team, missing)
    remembered.require_own("a", job_id)
    assert remembered.is_own("a", job_id)
    assert not remembered.is_own("b", job_id)


def test_memory_is_bounded(remembered, store, monkeypatch):
    monkeypatch.setattr("service.remembered._MOST_JOBS", 3)
    job_ids = [store.enqueue(team="a") for _ in range(5)]
    for job_id in job_ids:
        remembered.require_own("a", job_id)
    assert [remembered.is_own("a", job_id) for job_id in job_ids] == [False] * 3 + [True] * 2
