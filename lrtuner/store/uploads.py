"""What was uploaded: one row per content, with what is in it. The files lie in the data folder."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from lrtuner.errors import ConflictError, NotFoundError
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import ACTIVE, code, datasets, jobs


@dataclass(frozen=True)
class UploadRow:
    """An upload as others see it; `id` is `sha256:` and the hash of its bytes."""

    seq: int
    id: str
    filename: str | None
    num_bytes: int
    uploaded_at: float


@dataclass(frozen=True)
class DatasetRow(UploadRow):
    """A file of examples, and what was found in it."""

    format: str
    inspection: dict[str, Any]


@dataclass(frozen=True)
class CodeRow(UploadRow):
    """A project of code, and how much is in its archive."""

    num_files: int
    unpacked_bytes: int


Row = TypeVar("Row", bound=UploadRow)


@dataclass(frozen=True)
class Uploads(Generic[Row]):
    """Uploads of one kind.

    Attributes:
        table: where they are kept.
        row: what is read of each.
        what: one of them in messages.
        field: where the spec of a job names one.
    """

    table: sa.Table
    row: type[Row]
    what: str
    field: tuple[str, str]

    def add(self, connection: sa.Connection, upload_id: str, **values: Any) -> None:
        """Keep what was uploaded; `values` are the other columns.

        Raises:
            ConflictError: it is there already; the transaction can only be rolled back.
        """
        values |= {"id": upload_id, "uploaded_at": DatabaseClock()}
        try:
            connection.execute(sa.insert(self.table).values(**values))
        except sa.exc.IntegrityError:
            raise ConflictError(f"{self.what} {upload_id} is there already") from None

    def find(self, connection: sa.Connection, upload_id: str, *, hold: bool = False) -> Row | None:
        """The upload, None if there is none of that id.

        With `hold` nobody can delete it before the end of the transaction.
        """
        query = self._select().where(self.table.c.id == upload_id)
        if hold:
            query = query.with_for_update(read=True)
        row = connection.execute(query).one_or_none()
        return None if row is None else self.row(*row)

    def get(self, connection: sa.Connection, upload_id: str) -> Row:
        """The upload.

        Raises:
            NotFoundError: there is none of that id.
        """
        found = self.find(connection, upload_id)
        if found is None:
            raise self._missing(upload_id)
        return found

    def page(
        self, connection: sa.Connection, *, before: int | None = None, limit: int
    ) -> list[Row]:
        """Uploads, newest first; with `before`, those with a lower `seq`."""
        query = self._select().order_by(self.table.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(self.table.c.seq < before)
        return [self.row(*row) for row in connection.execute(query)]

    def delete(self, connection: sa.Connection, upload_id: str) -> Row:
        """Forget an upload; what was there. Its file is the caller's to remove.

        Raises:
            NotFoundError: there is none of that id.
            ConflictError: a job that is not finished uses it.
        """
        # The row first: a job that is being submitted holds it, or waits and then finds it gone.
        query = self._select().where(self.table.c.id == upload_id).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            raise self._missing(upload_id)
        user = connection.execute(
            sa.select(jobs.c.id)
            .where(ACTIVE, jobs.c.spec[self.field].as_string() == upload_id)
            .limit(1)
        ).scalar_one_or_none()
        if user is not None:
            raise ConflictError(f"job {user} uses {self.what} {upload_id} and is not finished")
        connection.execute(sa.delete(self.table).where(self.table.c.id == upload_id))
        return self.row(*row)

    def _select(self) -> sa.Select[Any]:
        return sa.select(*(self.table.c[name] for name in self.row.__dataclass_fields__))

    def _missing(self, upload_id: str) -> NotFoundError:
        return NotFoundError(f"there is no {self.what} {upload_id}")


DATASETS = Uploads(datasets, DatasetRow, "dataset", ("dataset", "id"))
CODE = Uploads(code, CodeRow, "code", ("model", "id"))


def files_of_code(connection: sa.Connection, code_id: str) -> list[tuple[str, int]]:
    """The path and the size in bytes of every file in a project.

    Raises:
        NotFoundError: there is none of that id.
    """
    query = sa.select(code.c.files).where(code.c.id == code_id)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"there is no code {code_id}")
    return [(path, num_bytes) for path, num_bytes in found]
