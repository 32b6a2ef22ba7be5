"""The queries behind the API, on every database."""

import base64

import pytest

from lrtuner.errors import InvalidInputError, NotFoundError
from lrtuner.lifecycle import JobStatus
from lrtuner.store import queue, reading


def ids(page):
    return [job.id for job in page.items]


def list_jobs(store, **kwargs):
    return store.read(reading.list_jobs, **{"limit": 100} | kwargs)


def walk(store, limit, between=lambda: None, **filters):
    """All pages, `between` being done after each."""
    after, found = None, []
    while True:
        page = list_jobs(store, after=after, limit=limit, **filters)
        assert len(page.items) <= limit
        found += ids(page)
        if page.next_cursor is None:
            return found
        after = page.next_cursor
        between()


def test_an_unknown_job(store):
    with pytest.raises(NotFoundError, match="job_x"):
        store.job("job_x")
    assert store.read(reading.list_events, "job_x", after=0, limit=1) == []
    assert store.read(reading.list_trials, "job_x", after=-1, limit=1) == []
    assert store.read(reading.list_stages, "job_x") == {}
    assert store.read(reading.get_recommendation, "job_x") is None


def test_a_listed_job_is_the_job(store):
    job_id = store.enqueue(spec={"a": 1}, name="n", metadata={"k": "v", "a": "b"})
    assert list_jobs(store).items == [store.job(job_id)]


def test_newest_first_and_the_last_page_says_so(store):
    job_ids = [store.enqueue() for _ in range(4)][::-1]
    first = list_jobs(store, limit=2)
    assert ids(first) == job_ids[:2]
    second = list_jobs(store, limit=2, after=first.next_cursor)
    assert (ids(second), second.next_cursor) == (job_ids[2:], None)
    assert list_jobs(store, limit=4).next_cursor is None


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_paging_sees_every_job_once_while_others_arrive_and_go(store, limit):
    job_ids = [store.enqueue() for _ in range(10)]
    changing = iter(job_ids)

    def between():
        store.enqueue()
        store.do(queue.cancel, next(changing, job_ids[0]))

    assert walk(store, limit, between) == job_ids[::-1]


def test_filters(store):
    by_name = {
        name: store.enqueue(name=name, metadata=metadata)
        for name, metadata in {
            "a": {"branch": "main", "commit": "1"},
            "b": {"branch": "main", "commit": "2"},
            "c": {"branch": "dev", "main": "branch"},
            "d": {},
        }.items()
    }

    def names(**filters):
        found = [job.name for job in list_jobs(store, **filters).items]
        assert walk(store, 1, **filters) == [by_name[name] for name in found]
        return found

    store.do(queue.cancel, by_name["b"])
    store.claim()
    assert names() == ["d", "c", "b", "a"]
    assert names(status=[JobStatus.QUEUED]) == ["d", "c"]
    assert names(status=[JobStatus.RUNNING, JobStatus.CANCELLED]) == ["b", "a"]
    assert names(status=[]) == []
    assert names(name="c") == ["c"]
    assert names(metadata={"branch": "main"}) == ["b", "a"]
    assert names(metadata={"branch": "main", "commit": "1"}) == ["a"]
    assert names(metadata={"branch": "main", "commit": "1", "x": "y"}) == []
    assert names(metadata={}) == ["d", "c", "b", "a"]
    assert names(metadata={"branch": "main"}, status=[JobStatus.CANCELLED], name="b") == ["b"]


def test_filters_are_values_and_not_patterns(store):
    store.enqueue(name="100%", metadata={"k": "x'y"})
    assert len(list_jobs(store, name="100%", metadata={"k": "x'y"}).items) == 1
    for filters in ({"name": "1%"}, {"name": "100_"}, {"metadata": {"k": "x%"}}, {"name": "100% "}):
        assert list_jobs(store, **filters).items == []


def encoded(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


BAD_CURSORS = [
    "", " ", "x", "jobs:1", "1", "%", "=", "é", "\x00", "A" * 5000,
    *map(encoded, ["jobs:", "jobs:0", "jobs:-1", "jobs:+1", "jobs:01", "jobs: 1", "jobs:1_0", "1"]),
    *map(encoded, ["jobs:1.0", "jobs:\u0661", "trials:1", f"jobs:{2**63}", "jobs:" + "9" * 5000]),
    encoded("jobs:1") + "=", encoded("jobs:1") + "\n",
]  # fmt: skip


def test_a_cursor_that_is_not_ours_is_refused(store):
    for cursor in BAD_CURSORS:
        with pytest.raises(InvalidInputError, match="after"):
            list_jobs(store, after=cursor)
    assert list_jobs(store, after=encoded("jobs:1")).items == []


def test_events_and_trials_in_pages(store):
    job_id = store.enqueue()
    claim = store.claim()
    for number in range(5):
        store.do(queue.start_trial, claim, number=number, phase="search", document={})
        details = {"kind": "k", "phase": None, "message": "", "data": {}}
        store.do(queue.add_event, claim, **details)

    def events(after, limit):
        return [
            event.seq for event in store.read(reading.list_events, job_id, after=after, limit=limit)
        ]

    def trials(after, limit):
        return [
            trial.number
            for trial in store.read(reading.list_trials, job_id, after=after, limit=limit)
        ]

    assert [events(0, 4), events(4, 2), events(6, 4), events(7, 4)] == [
        [1, 2, 3, 4],
        [5, 6],
        [7],
        [],
    ]
    assert [trials(-1, 3), trials(2, 3), trials(4, 3)] == [[0, 1, 2], [3, 4], []]


def test_the_last_event_of_a_kind(store):
    job_id, other = store.enqueue(), store.enqueue()
    claim = store.claim()
    for message in ("first", "second"):
        told = {"phase": None, "message": message, "data": {"m": message}}
        store.do(queue.add_event, claim, kind="environment", **told)
        store.do(queue.add_event, claim, kind="message", **told)
    found = store.read(reading.last_event, job_id, "environment")
    assert (found.message, found.data) == ("second", {"m": "second"})
    assert found in store.events(job_id)
    assert store.read(reading.last_event, job_id, "nothing") is None
    assert store.read(reading.last_event, other, "environment") is None
