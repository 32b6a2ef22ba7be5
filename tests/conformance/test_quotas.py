"""How much one key may submit, on every database."""

from typing import Any

import pytest
import sqlalchemy as sa

from lrtuner.errors import QuotaError
from lrtuner.keys import Scope, new_key
from lrtuner.store import keys, queue
from lrtuner.store.quotas import Quotas, admit
from lrtuner.store.tables import jobs
from tests.conformance.test_queue_races import together

JOB: dict[str, Any] = {"spec": {}, "name": None, "metadata": {}}


def submit(store, key_id="a", **quotas):
    def admitted(connection):
        admit(connection, key_id, Quotas(**quotas))
        return queue.enqueue(connection, **JOB, key_id=key_id)

    return store.do(admitted)


def age(store, seconds):
    older = jobs.c.queued_at - seconds
    store.do(lambda connection: connection.execute(sa.update(jobs).values(queued_at=older)))


@pytest.mark.parametrize("key_id", ["a", None])
def test_so_many_wait_and_no_more(store, key_id):
    other = None if key_id else "b"
    ids = [submit(store, key_id, max_queued=2) for _ in range(2)]
    with pytest.raises(QuotaError, match="2 jobs are waiting"):
        submit(store, key_id, max_queued=2)
    submit(store, other, max_queued=2)
    assert store.claim().job_id == ids[0]
    submit(store, key_id, max_queued=2)
    store.do(queue.cancel, ids[1])
    submit(store, key_id, max_queued=2)
    with pytest.raises(QuotaError):
        submit(store, key_id, max_queued=2)
    submit(store, key_id)


def test_so_many_a_minute_and_no_more(store):
    submit(store)
    age(store, 40)
    submit(store, submits_per_minute=2)
    with pytest.raises(QuotaError, match="2 jobs were submitted within a minute") as refused:
        submit(store, submits_per_minute=2)
    assert 15 < refused.value.retry_seconds <= 20
    submit(store, "b", submits_per_minute=1)
    age(store, 20)
    submit(store, submits_per_minute=2)  # the first one is a minute old
    with pytest.raises(QuotaError):
        submit(store, submits_per_minute=2)
    age(store, 60)
    submit(store, submits_per_minute=1)


@pytest.mark.parametrize("quotas", [{"max_queued": 3}, {"submits_per_minute": 3}])
@pytest.mark.parametrize("key_id", ["a", None])
def test_many_at_once_are_counted(store, quotas, key_id):
    def attempt(_):
        try:
            return submit(store, key_id, **quotas)
        except QuotaError:
            return None

    assert len([job_id for job_id in together(6, attempt) if job_id]) == 3


def test_many_at_once_get_a_turn_each(store):
    together(6, lambda _: submit(store))
    turns = store.do(lambda connection: connection.execute(sa.select(jobs.c.turn)).scalars().all())
    assert sorted(turns) == [1, 2, 3, 4, 5, 6]


def test_a_key_has_its_own_quotas_where_it_has_them(store):
    key = new_key()
    store.do(keys.add_key, key, name="k", scopes=[Scope.READ], max_queued=7)
    defaults = Quotas(max_queued=1, submits_per_minute=2)
    assert defaults.of(store.read(keys.find_key, key.id)) == Quotas(7, None, 2)
    assert defaults.of(None) == defaults
