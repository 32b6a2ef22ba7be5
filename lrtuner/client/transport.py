"""How requests are sent: where to, as whom, and how often when nobody answers."""

import ipaddress
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from lrtuner import __version__
from lrtuner.client.answers import Answer, Problem
from lrtuner.client.errors import ProblemError, ServerUnreachableError
from lrtuner.errors import InvalidInputError, LRTunerError

DEFAULT_URL = "http://127.0.0.1:8470"

#: Answers that may be different a moment later.
BUSY = frozenset({429, 502, 503, 504})

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 5.0
_SHORTEST_TIMEOUT = 1.0

A = TypeVar("A", bound=Answer)


class Transport:
    """Sends requests to one service, again and again for a while when it is away or busy.

    Only for requests that are safe to repeat.

    Args:
        url: where the service listens, with the path in front of `/v1` if there is one.
        api_key: sent as a bearer token, and shown nowhere.
        timeout: seconds that one answer may take.
        patience: seconds for which a request is repeated.
        on_retry: told why before every repetition.
        transport, sleep, clock: for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        timeout: float,
        *,
        patience: float,
        on_retry: Callable[[str], None] | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        base = _base_url(url)
        self.url = str(base.copy_with(userinfo=b"")).rstrip("/")
        self.http = httpx.Client(
            base_url=base,
            headers={"User-Agent": f"lrtuner/{__version__}", **_authorization(api_key)},
            timeout=timeout,
            transport=transport,
            verify=_trusted(),
            trust_env=not _is_local(base.host),  # no proxy reaches this machine's loopback
        )
        self.sleep = sleep
        self.clock = clock
        self._timeout = timeout
        self._patience = patience
        self._on_retry = on_retry

    def read(self, kind: type[A], method: str, path: str, **options: Any) -> A:
        """The answer to `request`, understood."""
        return self.understood(kind, self.request(method, path, **options))

    def understood(self, kind: type[A], response: httpx.Response) -> A:
        """The body of an answer.

        Raises:
            ServerUnreachableError: somebody else answered.
        """
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "the answer"
            raise ServerUnreachableError(
                f"{self.url} does not answer like an lrtuner service ({field}: {first['msg']})"
            ) from None

    def request(
        self, method: str, path: str, *, limit: float | None = None, **options: Any
    ) -> httpx.Response:
        """Ask until there is a good answer, or one that repeating would not change.

        Args:
            method: of HTTP.
            path: below the service's URL.
            limit: seconds for everything, instead of the patience.
            options: for `httpx.Client.request`.

        Raises:
            ServerUnreachableError: nobody answered.
            ProblemError: the service refused, or was busy all the time.
        """
        end = self.clock() + (self._patience if limit is None else limit)
        timeout = self._timeout if limit is None else max(limit, _SHORTEST_TIMEOUT)
        delay = _FIRST_DELAY
        while True:
            answer = self._try(method, path, timeout=min(timeout, self._timeout), **options)
            if isinstance(answer, httpx.Response):
                return answer
            trouble, not_before = answer
            # Many clients that lost the same service must not come back at the same moment.
            pause = max(delay * random.uniform(0.5, 1.0), not_before)
            if self.clock() + pause > end:
                raise trouble
            if self._on_retry:
                self._on_retry(f"{trouble}; trying again")
            self.sleep(pause)
            delay = min(delay * 2, _LONGEST_DELAY)

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str], timeout: float
    ) -> Iterator[Iterator[bytes] | None]:
        """The pieces of an event stream as they come; None if none is offered.

        Args:
            path: below the service's URL.
            headers: of the request.
            timeout: seconds without a piece after which the connection counts as lost.

        Raises:
            httpx.RequestError: there is no connection, or it is lost.
        """
        wanted = {"Accept": "text/event-stream", **headers}
        with self.http.stream("GET", path, headers=wanted, timeout=timeout) as response:
            kind = response.headers.get("Content-Type", "")
            offered = response.status_code == 200 and kind.startswith("text/event-stream")
            yield response.iter_bytes() if offered else None

    def _try(
        self, method: str, path: str, **options: Any
    ) -> httpx.Response | tuple[LRTunerError, float]:
        """The answer; or what went wrong for now, and how many seconds to stay away."""
        try:
            response = self.http.request(method, path, **options)
        except httpx.RequestError as error:
            reason = str(error) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in reason:
                reason += "; SSL_CERT_FILE names the file of a certificate authority of your own"
            return ServerUnreachableError(f"{self.url} cannot be reached: {reason}"), 0.0
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
            return response
        trouble = ProblemError(_problem(response, self.url))
        if response.status_code not in BUSY:
            raise trouble
        return trouble, _retry_after(response)


def _base_url(url: str) -> httpx.URL:
    try:
        base = httpx.URL(url.strip())
    except httpx.InvalidURL:
        base = httpx.URL()
    usable = base.scheme in ("http", "https") and base.host and (base.port or 0) <= 65535
    if not usable:
        # The text is not repeated: a mistyped URL may hold a password.
        raise InvalidInputError(f"the service's URL must look like {DEFAULT_URL}")
    return base


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trusted() -> ssl.SSLContext:
    """Whom to believe who they are: `SSL_CERT_FILE` and `SSL_CERT_DIR`, else the usual ones."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInputError(
            f"SSL_CERT_FILE or SSL_CERT_DIR holds no certificates: {reason}"
        ) from None


def _authorization(api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        # Refused here, because the error of the HTTP library would show the key.
        raise InvalidInputError("the API key holds characters that no key has")
    return {"Authorization": f"Bearer {api_key}"}


def _problem(response: httpx.Response, url: str) -> Problem:
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        try:
            return Problem.model_validate_json(response.content)
        except ValidationError:
            pass  # said in our own words below
    detail = f"{url} answered {response.status_code} {response.reason_phrase}"
    if response.has_redirect_location:
        detail += f", a redirect to {response.headers['Location']}: is LRTUNER_URL right?"
    if response.status_code == 401:  # without the service's own words where there is no body
        detail += ": set LRTUNER_API_KEY to a key of this service"
    return Problem(status=response.status_code, detail=detail)


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0
