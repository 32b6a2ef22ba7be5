"""Somebody who is told: a real HTTP server on this machine that answers as it was told to."""

import contextlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue

from standardwebhooks import Webhook as Verifier

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HERE = "127.0.0.0/8"

TLS = Path(__file__).parents[1] / "tls"
AUTHORITY = TLS / "authority.pem"
"""The certificate of an authority that nobody trusts, whose key is gone."""

SERVER = TLS / "server.pem"
"""A certificate of that authority for `ci.example.org` and `localhost`, with its key."""


class Received:
    """One request; `verified` is its message once the signature was found to be right."""

    def __init__(self, path, headers, body):
        self.path = path
        self.headers = dict(headers)
        self.body = body
        self.id = self.headers.get("webhook-id")

    def verified(self, secret=SECRET):
        return Verifier(secret).verify(self.body, self.headers)


class Receiving(ThreadingHTTPServer):
    """Answers with `answers`, one after the other, then with 200; `arrived` has every request.

    An answer is a status, or a status and headers, or an event that is waited for before a 200.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = []
        self.arrived = SimpleQueue()
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        self.server.arrived.put(Received(self.path, self.headers, body))
        if isinstance(answer, threading.Event):
            answer.wait(30)
            answer = 200
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        with contextlib.suppress(OSError):  # the sender may be gone
            self.send_response(status)
            for name, value in {"Content-Length": "6", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"thanks")

    def log_message(self, *_args):
        pass


def over_tls(server):
    """The same server, which now proves that it is `ci.example.org` or `localhost`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@contextlib.contextmanager
def receiving(tls=False):
    with over_tls(Receiving()) if tls else Receiving() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
