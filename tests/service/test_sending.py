"""One message to one receiver, over a real socket on this machine."""

import asyncio
import socket
import threading

import pytest

from service.addresses import networks
from service.sending import Sender
from tests.service.receiver import AUTHORITY, HERE, receiving


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


def post(url, allowed=HERE, timeout=20.0, headers=()):
    sender = Sender(networks(allowed), timeout=timeout)
    return asyncio.run(sender.post(url, dict(headers), b'{"a": 1}'))


def test_what_arrives_is_what_was_sent(receiver):
    answer = post(f"{receiver.url}?x=1", headers={"webhook-id": "msg_1"})
    assert (answer.status, answer.excerpt, answer.error) == (200, "thanks", None)
    arrived = receiver.arrived.get(timeout=10)
    assert (arrived.path, arrived.body, arrived.id) == ("/hook?x=1", b'{"a": 1}', "msg_1")
    assert arrived.headers["Content-Type"] == "application/json"
    assert arrived.headers["Host"] == receiver.url.split("/")[2]
    assert arrived.headers["User-Agent"].startswith("lrtuner/")


def test_a_receiver_on_this_machine_is_refused_unless_it_is_allowed(receiver):
    for allowed in ("", "10.0.0.0/8", "::1/128"):
        answer = post(receiver.url, allowed)
        assert answer.refused
        assert "127.0.0.1" not in answer.error  # what a name leads to is nobody's business
    assert receiver.arrived.empty()


def test_a_redirect_is_not_followed(receiver):
    with receiving() as inner:
        receiver.answers = [(302, {"Location": inner.url}), (307, {"Location": inner.url})]
        assert [post(receiver.url).status for _ in range(2)] == [302, 307]
        assert inner.arrived.empty()


def test_proxies_of_the_environment_are_not_used(receiver, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:3128")
    assert post(receiver.url).status == 200


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [("7", 7), ("0", 0), (" 120 ", 120), ("-1", None), ("soon", None), ("", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("9" * 99, 9999999999)],
)  # fmt: skip
def test_retry_after(receiver, sent, seconds):
    receiver.answers = [(503, {"Retry-After": sent})]
    answer = post(receiver.url)
    assert (answer.status, answer.retry_after) == (503, seconds)


def answering(*parts, hold=False):
    """A server of one connection that answers with these bytes, and perhaps goes on for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve():
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            for part in parts:
                connection.sendall(part)
            done.wait(30 if hold else 0)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/", done


def test_of_a_long_answer_only_the_beginning_is_read():
    url, done = answering(b"HTTP/1.1 200 OK\r\n\r\n", b"\x00\xff\x1b" + b"x" * 5000, hold=True)
    answer = post(url)
    done.set()
    assert answer.status == 200
    assert len(answer.excerpt) == 1000
    assert answer.excerpt.startswith("\ufffd\ufffd\ufffdx")


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\nx"])
def test_a_receiver_that_goes_on_for_ever_is_left(part):
    url, done = answering(part, hold=True)
    answer = post(url, timeout=0.1)
    done.set()
    assert (answer.status, answer.error) == (None, "no answer within 0.1 seconds")
    assert 0.05 < answer.seconds < 10


@pytest.mark.parametrize("part", [b"SSH-2.0-OpenSSH\r\n\r\n", b"", b"HTTP/1.1 999999 x\r\n\r\n"])
def test_what_is_no_answer_is_told(part):
    url, _done = answering(part)
    answer = post(url)
    assert answer.status is None
    assert answer.error
    assert answer.error.isprintable()


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = post(f"http://127.0.0.1:{port}/")
    assert answer.error
    assert not answer.refused


def test_a_name_that_does_not_resolve():
    async def resolver(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    answer = asyncio.run(Sender([], resolver).post("http://ci.example.org/", {}, b"{}"))
    assert "Name or service not known" in answer.error


def test_http_only_receivers_do_not_speak_tls(receiver):
    answer = post(receiver.url.replace("http:", "https:"))
    assert "SSL" in answer.error


# TLS --------------------------------------------------------------------------------------------


@pytest.fixture
def proven():
    """A receiver with a certificate for `ci.example.org`, which is where every name leads."""
    with receiving(tls=True) as server:
        yield server


def post_securely(receiver, host):
    async def here(_host, _port):
        return ["127.0.0.1"]

    url = f"https://{host}:{receiver.server_port}/hook"
    return asyncio.run(Sender(networks(HERE), here).post(url, {"webhook-id": "msg_1"}, b"{}"))


def test_a_receiver_with_a_certificate_of_an_authority_that_is_trusted(proven, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    answer = post_securely(proven, "ci.example.org")
    assert (answer.status, answer.error) == (200, None)
    arrived = proven.arrived.get(timeout=10)
    assert arrived.id == "msg_1"
    assert arrived.headers["Host"] == f"ci.example.org:{proven.server_port}"


def test_an_authority_that_is_not_trusted_is_sent_nothing(proven):
    answer = post_securely(proven, "ci.example.org")
    assert "CERTIFICATE_VERIFY_FAILED" in answer.error
    assert (answer.status, answer.refused) == (None, False)  # it may be mended: tried again
    assert proven.arrived.empty()


def test_a_certificate_for_another_name_is_sent_nothing(proven, monkeypatch):
    """The connection goes to an address that was checked; the certificate is for the name."""
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    answer = post_securely(proven, "other.example.org")
    assert "not valid for 'other.example.org'" in answer.error
    assert proven.arrived.empty()
