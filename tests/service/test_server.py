import concurrent.futures
import json
import os
import resource
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from service.__main__ import listen, main
from service.openapi import SMALLEST_JOB

MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}


def chunks(total, size=MIB):
    for _ in range(total // size):
        yield b" " * size


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_100_mb_are_refused_without_being_kept(serve, sqlite_url, announced):
    client = serve(database_url=sqlite_url)
    assert client.submit().status_code == 202
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    length = {"Content-Length": str(100 * MIB)} if announced else {}
    answer = client.post("/v1/jobs", content=chunks(100 * MIB), headers=JSON | length)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "1048576 bytes" in answer.json()["detail"]
    assert grown_kib < 30 * 1024
    assert client.submit().status_code == 202


def test_announced_length_is_refused_before_the_body_is_sent(serve, sqlite_url):
    client = serve(database_url=sqlite_url)
    address = client.get("/healthz").request.url
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: {address.host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {10**12}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("surplus", [0, 1])
def test_the_limit_is_exact(start, sqlite_url, surplus):
    client = start(database_url=sqlite_url, max_body_bytes=2048)
    body = json.dumps(SMALLEST_JOB).encode().ljust(2048 + surplus)
    assert client.post_raw(body).status_code == (413 if surplus else 202)

    async def streamed():
        yield body[:1000]
        yield body[1000:]

    assert client.post_raw(streamed()).status_code == (413 if surplus else 202)


def test_client_that_leaves_in_the_middle(serve, sqlite_url):
    client = serve(database_url=sqlite_url)
    address = client.get("/healthz").request.url
    head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + b'{"model"')
    assert client.submit().status_code == 202


def test_more_requests_at_a_time_than_connections_and_threads(serve, database_url):
    client = serve(database_url=database_url)

    def submit_and_look(_):
        location = client.submit().headers["Location"]
        return client.get(location).status_code

    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        assert list(pool.map(submit_and_look, range(100))) == [200] * 100
    assert not client.get("/v1/jobs?limit=1&status=running").json()["items"]


@pytest.mark.parametrize("ending", ["parent gone", "Ctrl-C"])
def test_command_serves_until_it_is_told_to_stop(sqlite_url, ending):
    command = [sys.executable, "-m", "service", "--port", "0", "--exit-with-parent"]
    with subprocess.Popen(
        command,
        env=os.environ | {"LRTUNER_DATABASE_URL": sqlite_url},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            line = next(line for line in process.stderr if "listening on" in line)
            url = line.split()[-1]
            assert httpx.get(f"{url}/readyz").json()["status"] == "ready"
            if ending == "Ctrl-C":
                process.send_signal(signal.SIGINT)
            else:
                process.stdin.close()
            assert process.wait(20) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_address_in_use_is_said_clearly(sqlite_url, monkeypatch, capsys):
    monkeypatch.setenv("LRTUNER_DATABASE_URL", sqlite_url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another with --host and --port\n"
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--port", "99999"], {}, "cannot listen on 127.0.0.1:99999"),
        (["--host", "256.0.0.1"], {}, "cannot listen on 256.0.0.1"),
        ([], {"LRTUNER_MAX_BODY_BYTES": "0"}, "LRTUNER_MAX_BODY_BYTES"),
        ([], {"LRTUNER_PUBLIC_URL": "example.org"}, "LRTUNER_PUBLIC_URL"),
        ([], {"LRTUNER_DATABASE_URL": "mysql://u:secret@h/d"}, "'mysql' is not supported"),
        ([], {"LRTUNER_DATABASE_URL": "", "LRTUNER_DATA_DIR": "/dev/null/x"}, "/dev/null"),
    ],
)
def test_what_does_not_work_is_said_in_one_line(
    sqlite_url, monkeypatch, capsys, arguments, environment, message
):
    for name, value in ({"LRTUNER_DATABASE_URL": sqlite_url} | environment).items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert "secret" not in said


def test_a_body_does_not_wait_until_its_head_was_acknowledged():
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
