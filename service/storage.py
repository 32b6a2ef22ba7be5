"""The database as endpoints use it: one transaction per request."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from lrtuner.errors import DatabaseDownError, LRTunerError
from lrtuner.store import Database
from lrtuner.store.level import Level, is_migrated, level_of
from service.problem import ProblemError

_log = logging.getLogger(__name__)


class Storage:
    """`with storage.writing() as connection:` in an endpoint, once per request.

    The block is in the endpoint, not around it: were it entered in one thread and left in another,
    many requests at a time could hold every connection while they wait for a thread. And whatever
    follows the block, such as the answer, comes after the commit.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def reading(self) -> AbstractContextManager[Any]:
        """One snapshot to read from."""
        return self._migrated(self.database.reading())

    def writing(self) -> AbstractContextManager[Any]:
        """One transaction, committed at the end of the block."""
        return self._migrated(self.database.writing())

    @property
    def kind(self) -> str:
        """Which database it is, without its address: `sqlite` or `postgresql`."""
        return self.database.url.get_backend_name()

    def check(self) -> Level:
        """Make sure that jobs can be kept; whether the schema is this version's or a later one.

        Raises:
            ProblemError: the database lacks what this version needs.
            DatabaseDownError: it does not answer, or cannot be used at all.
        """
        try:
            level, _ = level_of(self.database)
        except LRTunerError:
            raise
        except Exception as error:
            _log.exception("the database cannot be used")
            raise DatabaseDownError from error
        if level not in (Level.CURRENT, Level.NEWER):
            raise _not_migrated()
        return level

    @contextmanager
    def _migrated(self, transaction: AbstractContextManager[Any]) -> Iterator[Any]:
        try:
            with transaction as connection:
                yield connection
        except (LRTunerError, ProblemError):
            raise
        except Exception as error:
            # Every database has its own error for a missing table: look only when there is one.
            if not is_migrated(self.database):
                raise _not_migrated() from error
            raise


def _not_migrated() -> ProblemError:
    return ProblemError(
        "not_migrated",
        "The database does not have the schema of this version: run `lrtuner migrate`.",
    )
