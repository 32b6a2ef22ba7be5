"""The narrow pipe: JSON objects with their length before them, in both directions.

Standard library only. Nothing is ever unpickled; whatever is not a plain JSON object of a bounded
size is refused.
"""

import json
import math
import socket
import struct
import time
from typing import Any

LARGEST = 64 * 1024 * 1024
"""Bytes of the largest message."""

_LENGTH = struct.Struct(">I")


class ProtocolError(ValueError):
    """What came is no message."""


class Pipe:
    """One end of it.

    Args:
        end: one of a pair of connected sockets.
        largest: bytes of the largest message that is sent.
    """

    def __init__(self, end: socket.socket, largest: int = LARGEST) -> None:
        self._end, self._largest = end, largest

    def send(self, message: dict[str, Any], deadline: float | None = None) -> None:
        """Send one message.

        Raises:
            ValueError: it is no JSON: it holds NaN or infinity.
            TimeoutError: the other end did not take it by `deadline` (`time.monotonic`).
            OSError: the other end is gone.
        """
        body = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
        if len(body) > self._largest:
            raise ValueError(f"a message of {len(body)} bytes; the most is {self._largest}")
        self._until(deadline)
        self._end.sendall(_LENGTH.pack(len(body)) + body)

    def receive(
        self, deadline: float | None = None, *, largest: int | None = None
    ) -> dict[str, Any]:
        """The next message.

        Raises:
            ProtocolError: it is larger than `largest` bytes, or no JSON object.
            TimeoutError: it was not there by `deadline` (`time.monotonic`).
            EOFError: the other end is gone.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        largest = self._largest if largest is None else largest
        if length > largest:
            raise ProtocolError(f"a message of {length} bytes; at most {largest} are allowed")
        return _parsed(self._read(length, deadline))

    def close(self) -> None:
        """Close this end; the other one reads the end."""
        self._end.close()

    def _read(self, length: int, deadline: float | None) -> bytearray:
        # grows with what really comes: a length alone costs the sender nothing
        found = bytearray()
        while len(found) < length:
            self._until(deadline)
            try:
                part = self._end.recv(min(length - len(found), 1 << 20))
            except ConnectionError:
                part = b""
            if not part:
                raise EOFError("the other end is gone")
            found += part
        return found

    def _until(self, deadline: float | None) -> None:
        if deadline is None:
            self._end.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is over")
        self._end.settimeout(left)


def _parsed(body: bytearray) -> dict[str, Any]:
    try:
        message = json.loads(body.decode(), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {str(error)[:100]}") from None
    if not isinstance(message, dict):
        raise ProtocolError(f"not a JSON object: {type(message).__name__}")
    return message


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
