"""Webhooks: who is told of a job, of which events, and the secret that signs what is sent.

Messages follow Standard Webhooks (https://www.standardwebhooks.com): a secret is `whsec_` and the
base64 of 24 to 64 bytes. Several, separated by spaces, are for rotation: everything is signed with
each, so that a receiver may know any of them.
"""

import base64
import binascii
import ipaddress
import re
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from lrtuner.strict import Strict

WebhookEvent = Literal["job.started", "job.succeeded", "job.failed", "job.cancelled", "job.expired"]

WEBHOOK_EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)

MAX_SECRETS = 4
"""At most so many secrets at a time."""

_SECRET_BYTES = range(24, 65)
_SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.ASCII)
_PRIVILEGED = 1024
_WEB_PORTS = (80, 443)


def secret_bytes(secrets: str) -> list[bytes]:
    """The bytes of each secret in a list that is separated by spaces.

    Raises:
        ValueError: one is no secret, or there are too many; what was given is not repeated.
    """
    texts = secrets.split()
    if not 1 <= len(texts) <= MAX_SECRETS:
        raise ValueError(f"1 to {MAX_SECRETS} secrets are possible, separated by spaces")
    return [_secret_bytes(text) for text in texts]


def _secret_bytes(text: str) -> bytes:
    try:
        found = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not text.startswith(_SECRET_PREFIX) or len(found) not in _SECRET_BYTES:
        raise ValueError(
            'a secret is "whsec_" and the base64 of 24 to 64 random bytes: '
            'echo "whsec_$(openssl rand -base64 32)" makes one'
        )
    return found


def _no_secret_told(secrets: str) -> str:
    secret_bytes(secrets)
    return secrets


def _plain_url(url: str) -> str:
    """Refuse what two readers could take for two addresses; where it leads is not known here."""
    if not url.isascii() or not url.isprintable() or set(' \\<>"^`{|}') & set(url):
        raise ValueError(
            "only printable ASCII is allowed, without spaces and backslashes: "
            "write a host name of other letters as xn--..."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the host or the port cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("it must start with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("a user or password is not allowed in it: messages are signed")
    if "#" in url:
        raise ValueError("a #fragment is not allowed in it")
    if port is not None and not (port in _WEB_PORTS or port >= _PRIVILEGED):
        raise ValueError(f"port {port} is not allowed: 80, 443 and those from 1024 on are")
    _check_host(parts.netloc.rpartition(":")[0] if port is not None else parts.netloc)
    return url


def _check_host(host: str) -> None:
    if host.startswith("["):
        _check_address(host[1:-1] if host.endswith("]") else "", ipaddress.IPv6Address)
        return
    if not _NAME.fullmatch(host.lower()):
        raise ValueError(
            "it needs a host name such as ci.example.org, without a dot at its end, or an address"
        )
    # Any other number in that place is an address to some readers: 127.1, 0x7f000001, 0177.0.0.1.
    if re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2], re.IGNORECASE | re.ASCII):
        _check_address(host, ipaddress.IPv4Address)


def _check_address(
    text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]
) -> None:
    try:
        written = kind(text)
    except ValueError:
        raise ValueError("an address must be four decimal numbers, or IPv6 in brackets") from None
    if getattr(written, "scope_id", None):
        raise ValueError("an IPv6 address must not name an interface")


WebhookUrl = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_plain_url)]
Secrets = Annotated[str, Field(max_length=500), AfterValidator(_no_secret_told)]


def _some_once(events: list[WebhookEvent]) -> list[WebhookEvent]:
    if len(set(events)) != len(events):
        raise ValueError("one is named twice")
    return events


class Receiver(Strict):
    """Where messages are sent, and the secret that signs them; if left out, the service's own.

    The secret is kept apart from the job and is never shown again. `http` and `https` on the ports
    80, 443 and from 1024 on.
    """

    url: WebhookUrl
    # excluded: in no document that is stored, shown or hashed
    secret: Annotated[
        Secrets | None, Field(exclude=True, repr=False, json_schema_extra={"writeOnly": True})
    ] = None


class Webhook(Receiver):
    """Whom to tell of a job, and of which events."""

    events: Annotated[list[WebhookEvent], Field(min_length=1), AfterValidator(_some_once)] = list(
        WEBHOOK_EVENTS
    )
