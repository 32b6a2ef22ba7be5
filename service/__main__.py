"""Run the API: `python -m service [--host 127.0.0.1] [--port 8470] [--exit-with-parent]`."""

import argparse
import contextlib
import logging
import os
import socket
import sys
import threading

import uvicorn

from lrtuner import logs
from lrtuner.errors import LRTunerError
from lrtuner.settings import from_environment
from lrtuner.store import open_database
from service.access import is_local
from service.app import create_app
from service.settings import Auth, Settings

_log = logging.getLogger("service")

_GRACE_SECONDS = 5
_ABOUT_AUTH = {
    Auth.AUTO: "every request needs an API key: `lrtuner keys create` makes one",
    Auth.OPEN: "until there is an API key, whoever reaches this address may use the service",
}
_STANDARD_INPUT = 0


class Server(uvicorn.Server):
    """Ends streams before it waits for connections: they would not end by themselves."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down."""
        self.config.app.state.watcher.close()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; 2 when the settings or the address do not work."""
    options = _parser().parse_args(arguments)
    try:
        settings = from_environment(Settings)
        open_database(settings.database_url).close()
        listener = listen(options.host, options.port)
    except (LRTunerError, OSError) as error:
        return _refuse(str(error))
    # Everything in one format: the server's own set-up is left out below.
    logs.configure(settings.log_level, settings.log_format)
    on_loopback = is_local(listener.getsockname()[0])
    config = uvicorn.Config(
        create_app(settings, on_loopback=on_loopback),
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = Server(config)
    if options.exit_with_parent:
        threading.Thread(target=_stop_with_parent, args=[server], daemon=True).start()
    host, port = listener.getsockname()[:2]
    _log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    if not on_loopback and settings.auth in _ABOUT_AUTH:
        _log.warning(_ABOUT_AUTH[settings.auth])
    with contextlib.suppress(KeyboardInterrupt):  # raised again once the server has stopped
        server.run(sockets=[listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service", description="The HTTP API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8470, help="port to listen on, 0 for any")
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when standard input is closed"
    )
    return parser


def listen(host: str, port: int) -> socket.socket:
    """A socket at which the service can be served.

    Raises:
        OSError: there cannot be one; the message says what to do.
    """
    if not 0 <= port < 2**16:  # resolving the address would take the remainder
        raise OSError(f"cannot listen on {host}:{port}: there are the ports 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        # What the socket module says repeats the address; name resolution has its own numbers.
        of_system = not isinstance(error, socket.gaierror) and error.errno
        reason = os.strerror(of_system) if of_system else error.strerror
        raise OSError(
            f"cannot listen on {host}:{port}: {reason}; choose another with --host and --port"
        ) from None
    # Inherited by every connection. Without it a body waits for the acknowledgement of its head,
    # 40 ms later; asyncio sets it only on sockets whose protocol number was spelled out.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _stop_with_parent(server: uvicorn.Server) -> None:
    """Wait for the end of standard input: a parent that dies in any way closes it."""
    # Not sys.stdin: a thread inside its lock makes the interpreter abort when it exits.
    with contextlib.suppress(OSError):
        while os.read(_STANDARD_INPUT, 4096):
            pass
    server.should_exit = True


def _refuse(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
