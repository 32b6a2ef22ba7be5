"""What was uploaded: one row per content, with what is in it. The files lie in the data folder."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lrtuner.errors import ConflictError, NotFoundError
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import ACTIVE, datasets, jobs


@dataclass(frozen=True)
class DatasetRow:
    """An upload as others see it; `id` is `sha256:` and the hash of its bytes."""

    seq: int
    id: str
    format: str
    filename: str | None
    num_bytes: int
    inspection: dict[str, Any]
    uploaded_at: float


_COLUMNS = [datasets.c[name] for name in DatasetRow.__dataclass_fields__]


def add_dataset(
    connection: sa.Connection,
    *,
    dataset_id: str,
    format: str,
    filename: str | None,
    num_bytes: int,
    inspection: dict[str, Any],
) -> None:
    """Keep what was uploaded.

    Raises:
        ConflictError: it is there already; the transaction can only be rolled back.
    """
    query = sa.insert(datasets).values(
        id=dataset_id,
        format=format,
        filename=filename,
        num_bytes=num_bytes,
        inspection=inspection,
        uploaded_at=DatabaseClock(),
    )
    try:
        connection.execute(query)
    except sa.exc.IntegrityError:
        raise ConflictError(f"dataset {dataset_id} is there already") from None


def find_dataset(
    connection: sa.Connection, dataset_id: str, *, hold: bool = False
) -> DatasetRow | None:
    """The upload, None if there is none of that id.

    With `hold` nobody can delete it before the end of the transaction.
    """
    query = sa.select(*_COLUMNS).where(datasets.c.id == dataset_id)
    if hold:
        query = query.with_for_update(read=True)
    row = connection.execute(query).one_or_none()
    return None if row is None else DatasetRow(*row)


def get_dataset(connection: sa.Connection, dataset_id: str) -> DatasetRow:
    """The upload.

    Raises:
        NotFoundError: there is none of that id.
    """
    found = find_dataset(connection, dataset_id)
    if found is None:
        raise NotFoundError(f"there is no dataset {dataset_id}")
    return found


def list_datasets(
    connection: sa.Connection, *, before: int | None = None, limit: int
) -> list[DatasetRow]:
    """Uploads, newest first; with `before`, those with a lower `seq`."""
    query = sa.select(*_COLUMNS).order_by(datasets.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(datasets.c.seq < before)
    return [DatasetRow(*row) for row in connection.execute(query)]


def delete_dataset(connection: sa.Connection, dataset_id: str) -> DatasetRow:
    """Forget an upload; what was there. Its file is the caller's to remove after the commit.

    Raises:
        NotFoundError: there is none of that id.
        ConflictError: a job that is not finished uses it.
    """
    # The row first: a job that is being submitted holds it, or waits and then finds it gone.
    query = sa.select(*_COLUMNS).where(datasets.c.id == dataset_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no dataset {dataset_id}")
    user = connection.execute(
        sa.select(jobs.c.id)
        .where(ACTIVE, jobs.c.spec[("dataset", "id")].as_string() == dataset_id)
        .limit(1)
    ).scalar_one_or_none()
    if user is not None:
        raise ConflictError(f"job {user} uses dataset {dataset_id} and is not finished")
    connection.execute(sa.delete(datasets).where(datasets.c.id == dataset_id))
    return DatasetRow(*row)
