"""Children live and die together: stand-ins that hold a connection for as long as they live."""

import signal
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from lrtuner.cli.output import StoppedError
from lrtuner.cli.supervisor import Command, Supervisor

CONNECT = """
import os, signal, socket, subprocess, sys
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
line.sendall(b"up")
"""
OBEDIENT = CONNECT + "sys.stdin.read()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    + CONNECT
    + "while True: signal.pause()"
)
PARENT = (
    CONNECT
    + "subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]], close_fds=True)\n"
    + "sys.stdin.read()"
)


class Lines:
    """Where stand-ins report that they live. A connection ends with the process that holds it."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.port = str(self._listener.getsockname()[1])
        self._open = []

    def wait_for(self, count):
        for _ in range(count):
            connection, _ = self._listener.accept()
            connection.settimeout(20)
            assert connection.recv(2) == b"up"
            self._open.append(connection)

    def assert_all_ended(self):
        for connection in self._open:
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""

    def close(self):
        for connection in [*self._open, self._listener]:
            connection.close()


@pytest.fixture
def lines():
    lines = Lines()
    yield lines
    lines.close()


@pytest.fixture
def stand_in(lines):
    def command(script, *arguments, name="child"):
        return Command(name, [sys.executable, "-S", "-c", script, lines.port, *arguments])

    return command


def test_leaving_the_block_ends_every_child(lines, stand_in):
    with Supervisor([stand_in(OBEDIENT), stand_in(OBEDIENT)]) as supervisor:
        lines.wait_for(2)
        assert supervisor.wait(0.0) is False
    lines.assert_all_ended()


def test_a_child_that_will_not_end_is_killed_with_its_own_children(lines, stand_in):
    with Supervisor([stand_in(STUBBORN), stand_in(PARENT, STUBBORN)], grace_seconds=0.1):
        lines.wait_for(3)
    lines.assert_all_ended()


def test_a_child_that_ends_is_noticed_and_its_last_words_told(lines, stand_in, capsys):
    dying = CONNECT + "print('port 8470 is taken', flush=True); sys.exit(3)"
    children = [stand_in(dying, name="api"), stand_in(OBEDIENT, name="worker")]
    told = r"^api ended with exit code 3: port 8470 is taken$"
    with pytest.raises(StoppedError, match=told), Supervisor(children) as supervisor:
        supervisor.wait()
    lines.wait_for(1)  # the worker may have been stopped before it was up
    lines.assert_all_ended()
    assert "api | port 8470 is taken" in capsys.readouterr().err


def test_a_child_that_is_killed_is_noticed(stand_in):
    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with (
        pytest.raises(StoppedError, match="killed by signal 9"),
        Supervisor([stand_in(suicide)]) as supervisor,
    ):
        supervisor.wait()


def test_a_command_that_cannot_start_stops_those_that_did(lines, stand_in):
    supervisor = Supervisor([stand_in(OBEDIENT), Command("api", ["/no/such/program"])])
    with pytest.raises(StoppedError, match="cannot start api"), supervisor:
        pytest.fail("not all children run")
    assert [child.process.poll() is None for child in supervisor._children] == [False]


# The whole of `lrtuner serve`, with stand-ins for the API and the worker -------------------------

API = (
    CONNECT
    + """
import http.server, threading

class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"""
)
SERVE = """
import sys
from lrtuner.cli import app, processes
from lrtuner.cli.supervisor import Command

def commands(host, port, workers):
    api, worker, lines = sys.argv[1:4]
    found = [Command("api", [sys.executable, "-S", "-c", api, lines, str(port)])]
    worker = Command("worker", [sys.executable, "-S", "-c", worker, lines])
    return found + [worker] * workers

processes._commands = commands
processes._migrate = lambda: print("migrated", file=sys.stderr, flush=True)
app(["serve", "--port", "0", *sys.argv[4:]])
"""


@pytest.fixture
def serve(lines):
    started = []

    def start(*options, api=API, worker=OBEDIENT):
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, api, worker, lines.port, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_serve_says_where_it_listens_once_it_answers(lines, serve):
    process = serve("--workers", "2")
    lines.wait_for(3)
    first, docs, submit = (process.stdout.readline() for _ in range(3))
    url = first.split()[3]
    assert first.startswith("lrtuner listens on http://127.0.0.1:")
    assert "2 workers" in first
    assert f"{url}/docs" in docs
    assert f"LRTUNER_URL={url} lrtuner submit" in submit


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_everything_cleanly(lines, serve, number):
    process = serve()
    lines.wait_for(2)
    process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert errors.startswith("migrated\n")
    assert "stopping" in errors
    assert "Traceback" not in errors
    lines.assert_all_ended()


def test_nothing_survives_kill_9(lines, serve):
    process = serve("--workers", "2")
    lines.wait_for(3)
    process.kill()
    process.wait()
    lines.assert_all_ended()


def test_a_signal_before_the_service_is_ready_stops_it_too(lines, serve):
    process = serve(api=OBEDIENT)  # never answers
    lines.wait_for(2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "")
    lines.assert_all_ended()


def test_a_second_ctrl_c_does_not_wait_for_the_stubborn(lines, serve):
    process = serve(worker=STUBBORN)
    lines.wait_for(2)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert [process.stderr.readline() for _ in range(2)] == ["migrated\n", "stopping\n"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)  # shorter than the grace
    assert process.returncode == 0
    lines.assert_all_ended()


def test_serve_ends_with_the_reason_when_a_child_dies(lines, serve):
    process = serve(worker=CONNECT + "sys.exit('no room on disk')")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "lrtuner: worker ended with exit code 1: no room on disk" in errors
    assert "Traceback" not in errors
    lines.wait_for(1)
    lines.assert_all_ended()


def test_serve_ends_with_its_own_parent_if_asked_to(lines, serve):
    process = serve("--exit-with-parent")
    lines.wait_for(2)
    process.stdin.close()
    process.stdin = None
    process.communicate(timeout=20)
    assert process.returncode == 0
    lines.assert_all_ended()
