"""API keys as they are kept, on both databases."""

import pytest
import sqlalchemy as sa

from lrtuner.errors import NotFoundError
from lrtuner.keys import Scope, key_id_of, matches, new_key
from lrtuner.store import keys
from lrtuner.store.tables import api_keys


def add(store, **options):
    key = new_key()
    store.do(keys.add_key, key, **{"name": "ci", "scopes": [Scope.SUBMIT, Scope.READ]} | options)
    return key


def age(store, **columns):
    """What time does to a key: its times lie so many seconds further back."""
    changes = {name: api_keys.c[name] - seconds for name, seconds in columns.items()}
    store.do(lambda connection: connection.execute(sa.update(api_keys).values(**changes)))


def test_a_key_is_found_by_its_id_and_kept_as_a_hash(store):
    assert not store.read(keys.has_keys)
    key = add(store)
    assert store.read(keys.has_keys)
    row = store.read(keys.find_key, key.id)
    assert (row.name, row.scopes, row.status) == ("ci", ["read", "submit"], "active")
    assert row.created_at > 1e9
    assert (row.expires_at, row.revoked_at, row.last_used_at) == (None, None, None)
    assert matches(key.text, row.digest)
    assert not matches(new_key().text, row.digest)
    secret = key.text.rpartition("_")[2]
    assert secret not in str(store.do(lambda c: c.execute(sa.select(api_keys)).all()))
    assert store.read(keys.find_key, "a" * 12) is None


def test_a_key_expires(store):
    key = add(store, seconds=100.0)
    assert store.read(keys.find_key, key.id).status == "active"
    age(store, expires_at=100.1)
    assert store.read(keys.find_key, key.id).status == "expired"
    assert store.read(keys.has_keys)


def test_a_key_is_revoked_for_good(store):
    key, other = add(store), add(store)
    store.do(keys.revoke_key, key.id)
    first = store.read(keys.find_key, key.id)
    assert first.status == "revoked"
    store.do(keys.revoke_key, key.id)
    assert store.read(keys.find_key, key.id).revoked_at == first.revoked_at
    assert store.read(keys.find_key, other.id).status == "active"
    with pytest.raises(NotFoundError):
        store.do(keys.revoke_key, "a" * 12)


def test_the_last_use_is_known_to_a_minute(store):
    key = add(store)
    store.do(keys.touch_key, key.id)
    row = store.read(keys.find_key, key.id)
    assert row.used_lately
    store.do(keys.touch_key, key.id)
    assert store.read(keys.find_key, key.id).last_used_at == row.last_used_at
    age(store, last_used_at=61)
    assert not store.read(keys.find_key, key.id).used_lately
    store.do(keys.touch_key, key.id)
    assert store.read(keys.find_key, key.id).last_used_at > row.last_used_at


def test_all_keys_newest_first(store):
    ids = [add(store).id]
    age(store, created_at=10)
    ids.append(add(store).id)
    assert [row.id for row in store.read(keys.list_keys)] == ids[::-1]


def test_keys_differ_and_look_like_keys():
    made = [new_key() for _ in range(100)]
    assert len({key.text for key in made}) == len({key.id for key in made}) == 100
    for key in made:
        assert key_id_of(key.text) == key.id
        assert key.text.startswith(f"lrt_{key.id}_")
        assert len(key.text) == 4 + 12 + 1 + 52
    text = made[0].text
    for other in ("", text[:-1], text + "a", text.upper(), text[4:], f" {text}", text + "\n"):
        assert key_id_of(other) is None
