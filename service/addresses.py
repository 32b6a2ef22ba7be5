"""Which addresses webhooks may lead to, and connections that lead to no other.

A name says nothing: whoever owns it decides what it resolves to, and may decide anew for each
question. So the name is resolved once for each connection, all its addresses are checked, and the
connection goes to an address that was checked, never to the name.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

import anyio
import httpcore
from pydantic import AfterValidator

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver: TypeAlias = Callable[[str, int], Awaitable[list[str]]]

_MOST_ADDRESSES = 4
"""So many addresses of a name are tried."""

#: What is not the public internet (IANA's registries of special-purpose addresses), and
#: 168.63.129.16, where Azure answers its machines.
_NOT_PUBLIC_V4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
        "240.0.0.0/4",
    )
]  # fmt: skip

#: All that is given out to the internet, and what of it stands for other addresses (Teredo, 6to4)
#: or for none. Forms of IPv4 addresses (::ffff:0:0/96, 64:ff9b::/96) lie outside of it.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = [
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]

_LOCAL = ("127.0.0.1", "::1")


class RefusedAddressError(Exception):
    """The host leads to an address that is not public and that the operator has not allowed."""


def networks(text: str) -> list[Network]:
    """The networks in a list that is separated by commas.

    Raises:
        ValueError: one is no network.
    """
    return [ipaddress.ip_network(entry.strip()) for entry in text.split(",") if entry.strip()]


def _of_networks(text: str) -> str:
    networks(text)
    return text


NetworkList = Annotated[str, AfterValidator(_of_networks)]


def is_allowed(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether a message may go to that address: a public one, or one of the operator's."""
    if any(address.version == network.version and address in network for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def check_host(url: str, allowed: Iterable[Network]) -> None:
    """Refuse what needs no resolver to see: an address, or a name of this machine.

    Raises:
        RefusedAddressError: it is one that is not allowed.
    """
    host = (urlsplit(url).hostname or "").lower()
    local = host == "localhost" or host.endswith(".localhost")
    try:
        _check(_LOCAL[:1] if local else [host], allowed)
    except ValueError:
        return  # a name


def _check(addresses: Iterable[str], allowed: Iterable[Network]) -> None:
    if not all(is_allowed(ipaddress.ip_address(address), allowed) for address in addresses):
        raise RefusedAddressError


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system finds them."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_rest, address in found))


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connections to allowed addresses only; one refused address of a name refuses the name.

    It stands below TLS: certificates are checked for the name that was asked for.
    """

    def __init__(self, allowed: Iterable[Network], resolver: Resolver = resolve) -> None:
        self._allowed = list(allowed)
        self._resolver = resolver
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, connect.

        Raises:
            RefusedAddressError: an address of the host is not allowed.
        """
        addresses = await self._resolver(host, port)
        _check(addresses, self._allowed)
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure
