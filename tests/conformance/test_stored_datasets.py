"""What is known of uploads, on both databases."""

import pytest

from lrtuner.errors import ConflictError, NotFoundError
from lrtuner.lifecycle import JobStatus
from lrtuner.store import datasets, queue

ID = "sha256:" + "a" * 64


def add(store, dataset_id=ID, **changes):
    known = {"format": "csv", "filename": "a.csv", "num_bytes": 2**40, "inspection": {"n": [1]}}
    store.do(datasets.add_dataset, dataset_id=dataset_id, **known | changes)


def test_what_was_kept_is_found(store):
    add(store)
    row = store.read(datasets.get_dataset, ID)
    assert (row.id, row.format, row.filename, row.num_bytes) == (ID, "csv", "a.csv", 2**40)
    assert row.inspection == {"n": [1]}
    assert row.uploaded_at > 1e9
    assert store.do(datasets.find_dataset, ID, hold=True) == row


def test_the_same_content_is_kept_once(store):
    add(store)
    with pytest.raises(ConflictError):
        add(store)


def test_pages_newest_first(store):
    ids = [f"sha256:{i:064x}" for i in range(5)]
    for dataset_id in ids:
        add(store, dataset_id)
    first = store.read(datasets.list_datasets, limit=2)
    rest = store.read(datasets.list_datasets, before=first[-1].seq, limit=9)
    assert [row.id for row in first + rest] == ids[::-1]


def test_what_is_not_there(store):
    assert store.read(datasets.find_dataset, ID) is None
    for verb in (datasets.get_dataset, datasets.delete_dataset):
        with pytest.raises(NotFoundError):
            store.do(verb, ID)


@pytest.mark.parametrize("spec", [{"dataset": {"id": ID[:-1] + "b"}}, {}, {"dataset": None}])
def test_what_no_job_uses_can_be_deleted(store, spec):
    add(store)
    store.enqueue(spec=spec)
    assert store.do(datasets.delete_dataset, ID).id == ID
    assert store.read(datasets.find_dataset, ID) is None


def test_what_an_unfinished_job_uses_is_kept(store):
    add(store)
    job_id = store.enqueue(spec={"dataset": {"source": "upload", "id": ID}})
    with pytest.raises(ConflictError, match=job_id):
        store.do(datasets.delete_dataset, ID)
    store.do(queue.cancel, job_id)
    assert store.job(job_id).status is JobStatus.CANCELLED
    store.do(datasets.delete_dataset, ID)
