"""Examine what the API is told: `python -m service.doctor`; JSON on stdout. Nothing is changed."""

import sys
from urllib.parse import urlsplit

from lrtuner.diagnosis import Diagnosis, Examination, fine, invalid_settings, warned, wrong
from lrtuner.errors import InvalidInputError, LRTunerError
from lrtuner.settings import from_environment, variable
from lrtuner.store import keys, open_database
from lrtuner.store.engine import file_of, parsed_url
from lrtuner.store.level import is_migrated
from service.access import is_local
from service.settings import Auth, Settings

_ADMIN = "`lrtuner keys create --name admin --scope admin` makes the first one"


def diagnose() -> list[Diagnosis]:
    """All that can be said of the API's settings."""
    try:
        settings = from_environment(Settings)
        has_keys = _has_keys(settings)
    except InvalidInputError as error:
        return invalid_settings(error)
    except LRTunerError:  # the database has its own examination
        return []
    return [access(settings, has_keys=has_keys)]


def access(settings: Settings, *, has_keys: bool) -> Diagnosis:
    """Who may use the service."""
    if has_keys:
        return fine("access", "every request needs an API key")
    beyond = not is_local(urlsplit(settings.public_url).hostname)
    if settings.auth is Auth.OPEN:
        told = (
            "LRTUNER_AUTH=open and there is no API key: whoever reaches the API may do everything"
        )
        remedy = f"set LRTUNER_AUTH=required; {_ADMIN}"
        if beyond:
            return wrong("access", f"{told}, also at {settings.public_url}", remedy)
        return warned("access", told, f"let it listen on a loopback address only, or {remedy}")
    if settings.auth is Auth.REQUIRED or beyond:
        return warned(
            "access", "there is no API key yet, and no request is answered without", _ADMIN
        )
    return fine(
        "access", "open to this machine alone; from elsewhere every request needs an API key"
    )


def _has_keys(settings: Settings) -> bool:
    """Whether there is a key.

    Raises:
        LRTunerError: the database cannot be asked.
    """
    file = file_of(parsed_url(settings.database_url))
    if file and not file.exists():  # to open it would make it
        return False
    database = open_database(settings.database_url)
    try:
        if not is_migrated(database):
            return False
        with database.reading() as connection:
            return keys.has_keys(connection)
    finally:
        database.close()


def main() -> int:
    """Print what was found."""
    names = [variable(name) for name in Settings.model_fields]
    sys.stdout.write(Examination(diagnose(), names).text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
