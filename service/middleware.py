"""Around every request: its id, the last resort for exceptions, the limit of its size, streams."""

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lrtuner import logs
from service.problem import REQUEST_ID, ProblemError, problem_response

_log = logging.getLogger(__name__)
_STREAM = "lrtuner.stream"
_ACCEPTED_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)


class RequestContext:
    """Gives every response an `X-Request-Id`, and answers unhandled exceptions with a 500.

    A sender's own id is taken over when it is harmless. The exception goes to the log, under the
    same id, and nothing of it into the response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = scope[REQUEST_ID] = _request_id(scope)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with logs.about(request_id=request_id):
            await self._answer(scope, receive, send_with_id, lambda: started)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, started: Callable[[], bool]
    ) -> None:
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception:
            _log.exception("failed: %s %s", scope["method"], scope["path"])
            if started():
                raise  # half a response is out; the server has to cut the connection
            detail = "The service failed to handle this request; its log has the details."
            response = problem_response(scope, "internal", detail)
            await response(scope, receive, send)


class Stream(Response):
    """A response whose body goes on for long; `Streams` sends it."""

    def __init__(
        self, chunks: AsyncGenerator[bytes], media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers=headers, media_type=media_type)
        del self.headers["Content-Length"]
        self.chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the headers, and leave the body."""
        scope[_STREAM] = self.chunks
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})


class Streams:
    """Sends the body of a `Stream` after everything around the endpoint is over.

    So an open stream holds neither what the framework keeps for a request, nor a task beside its
    own: that is most of the memory. That a client has left is noticed with the next chunk.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        before = set(scope)
        await self.app(scope, receive, send)
        if _STREAM not in scope:
            return
        for name in scope.keys() - before - {_STREAM}:
            del scope[name]  # it lasts as long as the stream, and so would all that it leads to
        async with aclosing(scope.pop(_STREAM)) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if await _has_left(receive):
                    return
        await send({"type": "http.response.body", "body": b""})


class BodyLimit:
    """Refuses bodies above a limit: at once when announced, else when they cross it.

    The limit is `max_bytes`, or that of the path in `larger`.

    Nothing beyond the limit is kept. The connection stays open: the server reads and drops what
    the client still sends, so that the client gets to see the answer.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, larger: Mapping[str, int]) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        max_bytes = self.larger.get(scope["path"], self.max_bytes)
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > max_bytes:
            error = _too_large(max_bytes)
            await problem_response(scope, error.code, error.detail)(scope, receive, send)
            return
        size = 0

        async def counted_receive() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > max_bytes:
                raise _too_large(max_bytes)
            return message

        await self.app(scope, counted_receive, send)


async def _has_left(receive: Receive) -> bool:
    try:
        async with asyncio.timeout(0):
            message = await receive()
    except TimeoutError:
        return False
    return bool(message["type"] == "http.disconnect")


def _too_large(max_bytes: int) -> ProblemError:
    message = f"The body is larger than the {max_bytes} bytes that are accepted"
    entry = {
        "pointer": "",
        "field": "body",
        "message": message,
        "allowed": {"max_bytes": max_bytes},
    }
    return ProblemError("body_too_large", f"{message}.", errors=[entry])


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if _ACCEPTED_ID.fullmatch(sent) else f"req_{uuid.uuid4().hex}"
