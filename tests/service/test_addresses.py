"""Messages go to public addresses only, whatever a URL or a resolver says; no network is used."""

import asyncio
import ipaddress

import httpcore
import pytest
from pydantic import ValidationError

from lrtuner.webhook import Receiver
from service.addresses import (
    GuardedNetwork,
    RefusedAddressError,
    check_host,
    is_allowed,
    networks,
)
from service.sending import Sender

PUBLIC = ["8.8.8.8", "1.1.1.1", "193.0.6.139", "2606:4700:4700::1111", "2a00:1450:4001::200e"]

INTERNAL = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",  # carrier-grade NAT
    "100.100.100.200",  # metadata, Alibaba
    "169.254.0.1",
    "169.254.169.254",  # metadata: AWS, GCP, Azure, ...
    "169.254.170.2",  # credentials of ECS tasks
    "168.63.129.16",  # Azure's own, in the public range
    "192.0.0.192",  # metadata, Oracle
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible
    "::ffff:127.0.0.1",  # IPv4-mapped
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",  # IPv4-translated
    "64:ff9b::7f00:1",  # NAT64
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",  # Teredo
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata, AWS
    "fd20:ce::254",  # metadata, GCP
    "fe80::1",
    "fe80::1%2",
    "fec0::1",
    "ff02::1",
]

#: Tricks: what is asked for, and what the resolver of the system would say to it.
TRICKS = {
    "http://127.0.0.1/": [],
    "http://localhost/": [],
    "http://LOCALHOST/": [],
    "http://x.localhost/": [],
    "http://localhost./": ["127.0.0.1"],
    "http://127.0.0.1./": ["127.0.0.1"],
    "http://127.1/": ["127.0.0.1"],
    "http://127.0.1/": ["127.0.0.1"],
    "http://0/": ["0.0.0.0"],
    "http://2130706433/": ["127.0.0.1"],
    "http://017700000001/": ["127.0.0.1"],
    "http://0177.0.0.1/": ["127.0.0.1"],
    "http://0x7f000001/": ["127.0.0.1"],
    "http://0x7f.0x0.0x0.0x1/": ["127.0.0.1"],
    "http://1.0x7f000001/": ["127.0.0.1"],
    "http://2852039166/": ["169.254.169.254"],
    "http://[::1]/": [],
    "http://[::]/": [],
    "http://[0:0:0:0:0:0:0:1]/": [],
    "http://[::ffff:127.0.0.1]/": [],
    "http://[::ffff:7f00:1]/": [],
    "http://[::127.0.0.1]/": [],
    "http://[64:ff9b::169.254.169.254]/": [],
    "http://[2002:7f00:1::]/": [],
    "http://[fe80::1%25lo]/": ["fe80::1"],
    "http://[fd00:ec2::254]/": [],
    "http://169.254.169.254/latest/meta-data/": [],
    "http://8.8.8.8@127.0.0.1/": ["127.0.0.1"],
    "http://127.0.0.1:80@8.8.8.8/": ["8.8.8.8"],
    "http://8.8.8.8#@127.0.0.1/": ["127.0.0.1"],
    "http://8.8.8.8\\@127.0.0.1/": ["127.0.0.1"],
    "http://127.0.0.1%2f@8.8.8.8/": ["8.8.8.8"],
    "http://①②⑦.⓪.⓪.①/": ["127.0.0.1"],
    "http://127。0。0。1/": ["127.0.0.1"],
    "http://\uff4cocalhost/": ["127.0.0.1"],
    "file:///etc/passwd": [],
    "gopher://8.8.8.8:6379/_x": ["8.8.8.8"],
    "http://8.8.8.8:22/": ["8.8.8.8"],
    "http://127.0.0.1.nip.io/": ["127.0.0.1"],
    "http://metadata.google.internal/": ["169.254.169.254"],
    "http://xn--internal-.example/": ["10.0.0.1"],
    "http://mapped.example/": ["::ffff:10.0.0.1"],
    "http://two.example/": ["8.8.8.8", "10.0.0.1"],
    "http://six.example/": ["2606:4700::1", "fd00::1"],
}


class Told:
    """A resolver with answers of its own, and a network that only notes where it was led."""

    def __init__(self, *answers, fails=()):
        self.answers = list(answers)
        self.asked = []
        self.connected = []
        self.fails = fails

    async def resolver(self, host, port):
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]

    async def connect_tcp(self, host, port, *_rest):
        self.connected.append(host)
        if host in self.fails:
            raise httpcore.ConnectError("refused")
        return self

    async def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        self.name = server_hostname
        raise httpcore.ConnectError("far enough")

    async def aclose(self):
        pass


def guarded(told, allowed=""):
    network = GuardedNetwork(networks(allowed), told.resolver)
    network._network = told
    return network


def post(told, url, allowed=""):
    sender = Sender(networks(allowed), told.resolver)
    sender._network._network = told
    return asyncio.run(sender.post(url, {}, b"{}"))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address):
    assert is_allowed(ipaddress.ip_address(address), [])


@pytest.mark.parametrize("address", INTERNAL)
def test_addresses_that_are_not_public(address):
    assert not is_allowed(ipaddress.ip_address(address), [])
    told = Told(["8.8.8.8", address])
    with pytest.raises(RefusedAddressError):
        asyncio.run(guarded(told).connect_tcp("ci.example.org", 443))
    assert not told.connected
    bracketed = f"[{address}]" if ":" in address else address
    with pytest.raises((RefusedAddressError, ValidationError)):
        check_host(Receiver(url=f"http://{bracketed}/").url, [])


@pytest.mark.parametrize("url", TRICKS)
def test_tricks_lead_nowhere(url):
    """Each is refused when it is submitted; what only a resolver can tell, when it is sent."""
    told = Told(TRICKS[url])
    try:
        check_host(Receiver(url=url).url, [])
    except (ValidationError, RefusedAddressError):
        return
    answer = post(told, url)
    assert answer.refused
    assert not told.connected


@pytest.mark.parametrize("url", [u for u, found in TRICKS.items() if found and u.isascii()])
def test_the_last_line_needs_no_help(url):
    """Were a trick accepted by mistake, its address would still be checked before connecting."""
    told = Told(TRICKS[url])
    answer = asyncio.run(_posted_anyway(told, url))
    assert set(told.connected) <= {"8.8.8.8"}
    assert answer is None or answer.refused or answer.error


async def _posted_anyway(told, url):
    sender = Sender([], told.resolver)
    sender._network._network = told
    try:
        return await sender.post(url, {}, b"{}")
    except Exception:  # noqa: BLE001 - what it cannot even read it cannot connect to
        return None


def test_a_name_that_changes_its_address_is_asked_once_for_each_connection():
    told = Told(["8.8.8.8"], ["127.0.0.1"])
    with pytest.raises(httpcore.ConnectError, match="far"):
        asyncio.run(_tls(guarded(told)))
    assert (told.asked, told.connected) == (["ci.example.org"], ["8.8.8.8"])
    with pytest.raises(RefusedAddressError):
        asyncio.run(_tls(guarded(told)))
    assert told.connected == ["8.8.8.8"]


async def _tls(network):
    stream = await network.connect_tcp("ci.example.org", 443)
    await stream.start_tls(None)


def test_certificates_are_checked_for_the_name():
    told = Told(["8.8.8.8"])
    answer = post(told, "https://ci.example.org/hook")
    assert "far enough" in answer.error
    assert (told.connected, told.name) == (["8.8.8.8"], "ci.example.org")


def test_every_message_asks_anew():
    told = Told(["8.8.8.8"], ["169.254.169.254"])
    assert not post(told, "https://ci.example.org").refused
    assert post(told, "https://ci.example.org").refused


def test_the_next_address_is_tried():
    told = Told(["8.8.8.8", "1.1.1.1"], fails=["8.8.8.8"])
    asyncio.run(guarded(told).connect_tcp("ci.example.org", 443))
    assert told.connected == ["8.8.8.8", "1.1.1.1"]
    told = Told([f"8.8.8.{n}" for n in range(9)], fails=[f"8.8.8.{n}" for n in range(9)])
    with pytest.raises(httpcore.ConnectError):
        asyncio.run(guarded(told).connect_tcp("ci.example.org", 443))
    assert len(told.connected) == 4
    with pytest.raises(httpcore.ConnectError, match="no address"):
        asyncio.run(guarded(Told([])).connect_tcp("ci.example.org", 443))


def test_what_the_operator_allows():
    allowed = networks(" 10.1.0.0/16 , 127.0.0.1/32,fd00::/8")
    for address, expected in {
        "10.1.2.3": True, "10.2.0.1": False, "127.0.0.1": True, "127.0.0.2": False,
        "fd12::1": True, "::ffff:10.1.2.3": False, "8.8.8.8": True, "fe80::1": False,
    }.items():  # fmt: skip
        assert is_allowed(ipaddress.ip_address(address), allowed) is expected
    check_host("http://localhost:9000/", networks("127.0.0.1/32"))
    check_host("http://10.1.0.1:9000/", allowed)
    with pytest.raises(RefusedAddressError):
        check_host("http://10.2.0.1:9000/", allowed)
    assert networks("") == []
    for wrong in ("10.0.0.1/8", "x", "10.0.0.0/99"):
        with pytest.raises(ValueError, match=wrong.split("/", maxsplit=1)[0]):
            networks(wrong)
