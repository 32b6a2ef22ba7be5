"""What is known of uploads, of every kind, on both databases."""

import pytest
import sqlalchemy as sa

from lrtuner.errors import ConflictError, NotFoundError
from lrtuner.lifecycle import JobStatus
from lrtuner.store import queue
from lrtuner.store.uploads import CODE, DATASETS, files_of_code

ID = "sha256:" + "a" * 64
OTHER = ID[:-1] + "b"
FILES = [["lrtune.py", 7], ["ä.py", 2**33]]

KNOWN = {
    "dataset": {"format": "csv", "inspection": {"n": [1]}},
    "code": {"num_files": 2, "unpacked_bytes": 2**34, "files": FILES},
}


@pytest.fixture(params=[DATASETS, CODE], ids=lambda kind: kind.what)
def kind(request):
    return request.param


def add(store, kind, upload_id=ID):
    values = {"filename": "a.csv", "num_bytes": 2**40} | KNOWN[kind.what]
    store.do(kind.add, upload_id, **values)


def used(kind, upload_id=ID):
    """The spec of a job that uses it."""
    where, field = kind.field
    return {where: {field: upload_id}}


def test_what_was_kept_is_found(store, kind):
    add(store, kind)
    row = store.read(kind.get, ID)
    assert (row.id, row.filename, row.num_bytes) == (ID, "a.csv", 2**40)
    assert row.uploaded_at > 1e9
    for name, value in KNOWN[kind.what].items():
        assert getattr(row, name, value) == value
    assert store.do(kind.find, ID, hold=True) == row


def test_the_same_content_is_kept_once(store, kind):
    add(store, kind)
    with pytest.raises(ConflictError):
        add(store, kind)


def test_pages_newest_first(store, kind):
    ids = [f"sha256:{i:064x}" for i in range(5)]
    for upload_id in ids:
        add(store, kind, upload_id)
    first = store.read(kind.page, limit=2)
    rest = store.read(kind.page, before=first[-1].seq, limit=9)
    assert [row.id for row in first + rest] == ids[::-1]


def test_what_is_not_there(store, kind):
    assert store.read(kind.find, ID) is None
    for verb in (kind.get, kind.delete):
        with pytest.raises(NotFoundError, match=f"no {kind.what} {ID}"):
            store.do(verb, ID)


@pytest.mark.parametrize("spec", [{"dataset": {"id": OTHER}, "model": {"id": OTHER}}, {},
                                  {"dataset": None, "model": None}])  # fmt: skip
def test_what_no_job_uses_can_be_deleted(store, kind, spec):
    add(store, kind)
    store.enqueue(spec=spec)
    assert store.do(kind.delete, ID).id == ID
    assert store.read(kind.find, ID) is None


def test_what_an_unfinished_job_uses_is_kept(store, kind):
    add(store, kind)
    job_id = store.enqueue(spec=used(kind))
    with pytest.raises(ConflictError, match=job_id):
        store.do(kind.delete, ID)
    store.do(queue.cancel, job_id)
    assert store.job(job_id).status is JobStatus.CANCELLED
    store.do(kind.delete, ID)


def test_what_a_submission_holds_cannot_be_deleted_before_its_end(store, kind):
    if store.database.url.get_backend_name() == "sqlite":
        pytest.skip("it has one writer at a time anyway")
    add(store, kind)
    with store.database.writing() as submitting:
        assert kind.find(submitting, ID, hold=True)
        with store.database.writing() as deleting:
            deleting.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(sa.exc.OperationalError):
                kind.delete(deleting, ID)


def test_the_files_of_code(store):
    add(store, CODE)
    assert store.read(files_of_code, ID) == [tuple(file) for file in FILES]
    with pytest.raises(NotFoundError):
        store.read(files_of_code, OTHER)
