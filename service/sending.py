"""One message to one receiver: a POST that is bounded in time and size and goes nowhere else."""

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property

import anyio
import httpcore

import lrtuner
from service.addresses import GuardedNetwork, Network, RefusedAddressError, Resolver, resolve

TIMEOUT_SECONDS = 20.0
_CONNECT_SECONDS = 10.0
_EXCERPT_BYTES = 1000


@dataclass(frozen=True)
class Answer:
    """What became of it: a status, or the reason why there is none.

    Attributes:
        excerpt: how the body of the answer begins.
        retry_after: how long the receiver wants to be left alone, in seconds.
        refused: its address is none that messages may go to.
    """

    seconds: float
    status: int | None = None
    excerpt: str | None = None
    retry_after: float | None = None
    error: str | None = None
    refused: bool = False


class Sender:
    """Sends to public addresses, and to those in `allowed`.

    Every message has a connection of its own, so that every one has its address checked. Redirects
    are not followed, and proxies of the environment not used: they would lead elsewhere.
    """

    def __init__(
        self,
        allowed: Iterable[Network],
        resolver: Resolver = resolve,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._network = GuardedNetwork(allowed, resolver)
        self._timeout = timeout

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        import httpx  # noqa: PLC0415 - a hundred modules that few services ever need

        return httpx.create_ssl_context()  # certifi's, or those of SSL_CERT_FILE

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send it and wait for the answer; whatever goes wrong is told, not raised."""
        began = time.monotonic()
        try:
            with anyio.fail_after(self._timeout):
                return await self._post(url, headers, body, began)
        except RefusedAddressError:
            told = "the host leads to an address that messages may not be sent to"
            return Answer(time.monotonic() - began, error=told, refused=True)
        except (TimeoutError, httpcore.TimeoutException):
            told = f"no answer within {self._timeout:g} seconds"
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            told = _printable(str(error) or type(error).__name__)
        return Answer(time.monotonic() - began, error=told)

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, began: float
    ) -> Answer:
        own = {
            "Content-Type": "application/json",
            "User-Agent": f"lrtuner/{lrtuner.__version__}",
            "Accept-Encoding": "identity",
        }
        connections = httpcore.AsyncConnectionPool(
            ssl_context=self._tls if url.lower().startswith("https:") else None,
            network_backend=self._network,
            max_keepalive_connections=0,
        )
        async with (
            connections,
            connections.stream(
                "POST",
                url,
                headers=[*own.items(), *headers.items()],
                content=body,
                extensions={"timeout": {"connect": _CONNECT_SECONDS}},
            ) as response,
        ):
            return Answer(
                seconds=time.monotonic() - began,
                status=response.status,
                excerpt=await _excerpt(response),
                retry_after=_retry_after(response),
            )


async def _excerpt(response: httpcore.Response) -> str:
    found = b""
    async for part in response.aiter_stream():
        found += part
        if len(found) >= _EXCERPT_BYTES:
            break
    return _printable(found[:_EXCERPT_BYTES].decode(errors="replace"))


def _printable(text: str) -> str:
    """The text as every database and terminal takes it."""
    kept = (c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(kept)[:_EXCERPT_BYTES]


def _retry_after(response: httpcore.Response) -> float | None:
    """The seconds that `Retry-After` asks for, as a number or as a time."""
    sent = {name.lower(): value for name, value in response.headers}.get(b"retry-after", b"")
    text = sent.decode("latin-1").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:10])
    try:
        then = parsedate_to_datetime(text)
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
