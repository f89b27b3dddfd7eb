"""Which addresses of the network are public: what a request names must never reach another machine
of this network, nor this one."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from mlxgui.engine.errors import BadRequest

NAT64 = IPv6Network("64:ff9b::/96")
"""The last 32 bits are an IPv4 address. Source: RFC 6052."""


def is_public(address: str) -> bool:
    """Whether it lies in the open Internet: no loopback, private, link-local, multicast, reserved
    or shared address, in whatever form it is written or wrapped."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv4Address):
        return found.is_global and not found.is_multicast
    if inner := _inside(found):
        return all(is_public(str(one)) for one in inner)
    return found.is_global and not found.is_multicast and not found.is_site_local


def _inside(address: IPv6Address) -> list[IPv4Address]:
    """IPv4 addresses that an IPv6 address stands for."""
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    if address in NAT64 or int(address) >> 32 == 0:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return []


async def resolve(host: str, port: int, param: str) -> list[str]:
    """The addresses of a host, as the system's resolver knows them: names, and numbers in every
    form that it takes. Raises BadRequest."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BadRequest(f"There is no host “{host}”: {error}.", param=param) from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
