"""API keys: `lrt_ID_SECRET`, of which a service keeps the id and a hash, never the key itself."""

import base64
import hashlib
import hmac
import re
import secrets
from enum import StrEnum
from typing import NamedTuple

_ID_BYTES, _SECRET_BYTES = 7, 32
KEY_ID = re.compile(r"[a-z2-7]{12}", re.ASCII)
_KEY = re.compile(rf"lrt_({KEY_ID.pattern})_[a-z2-7]{{52}}", re.ASCII)


class Scope(StrEnum):
    """What a key may do; each is granted for itself.

    `read`: look at jobs, their results and uploads. `submit`: submit and cancel jobs, upload and
    delete datasets, test and redeliver webhooks. `code`: upload and delete code, and, beside
    `submit`, submit jobs that run it. `admin`: all of it, and the jobs and uploads of every team.
    """

    READ = "read"
    SUBMIT = "submit"
    CODE = "code"
    ADMIN = "admin"


class NewKey(NamedTuple):
    """A key that was just made: to be shown once as `text`, and kept as `id` and `digest`."""

    id: str
    text: str
    digest: str


def new_key() -> NewKey:
    """A key with a random secret of 256 bits.

    A secret of that size cannot be guessed, so that a plain SHA-256 protects it: slow hashes are
    for what people choose.
    """
    key_id = _random(_ID_BYTES)
    text = f"lrt_{key_id}_{_random(_SECRET_BYTES)}"
    return NewKey(key_id, text, _digest(text))


def key_id_of(text: str) -> str | None:
    """The id in the text of a key; None if it cannot be one."""
    match = _KEY.fullmatch(text)
    return match[1] if match else None


def matches(text: str, digest: str) -> bool:
    """Whether that digest is the key's, found out in the same time whatever differs."""
    return hmac.compare_digest(_digest(text), digest)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _random(num_bytes: int) -> str:
    return base64.b32encode(secrets.token_bytes(num_bytes)).decode().rstrip("=").lower()
