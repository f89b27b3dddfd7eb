"""Images that a request gives as an address: fetched at the door, and only from public addresses.

The address that was checked is the one that is connected to, on every hop, so a name that resolves
otherwise a moment later gains nothing. Nothing is fetched unless the setting allows it.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import h11
from msgspec.structs import replace

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.media import parts_of
from mlxgui.engine.types import GenerationRequest, ImagePart, Message, Part
from mlxgui.system import addresses
from mlxgui.system.models import Setting
from mlxgui.wire.parts import MAX_BYTES, checked_image

SETTING = "allow_remote_images"
MAX_HOPS = 3
MAX_SECONDS = 10.0
MAX_IMAGES = 16
"""Fetched for one request."""
CHUNK_BYTES = 64 << 10
AT_ONCE = 4
PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Limits:
    """Of one image. `is_public` says which addresses may be connected to."""

    seconds: float = MAX_SECONDS
    size_bytes: int = MAX_BYTES
    hops: int = MAX_HOPS
    is_public: Callable[[str], bool] = addresses.is_public


async def fetch_images(
    request: GenerationRequest, limits: Limits | None = None
) -> GenerationRequest:
    """The request with the bytes of every image that it gives as an address.

    Raises BadRequest that names the message: the setting forbids it, the address is not public, or
    what came is no image.
    """
    wanted = _addresses_of(request)
    if not wanted:
        return request
    first = next(iter(wanted.values()))
    if not await Setting.objects.avalue(SETTING):
        raise BadRequest(
            "Images are not fetched from other servers here. Send the image itself as a data: URL,"
            f" or switch the setting {SETTING} on.",
            param=first,
        )
    if len(wanted) > MAX_IMAGES:
        raise BadRequest(f"At most {MAX_IMAGES} images are fetched for one request.", param=first)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(url: str, param: str) -> bytes:
        async with gate:
            return await fetch(url, param, limits or Limits())

    tasks = [asyncio.create_task(one(url, param)) for url, param in wanted.items()]
    try:
        found = dict(zip(wanted, await asyncio.gather(*tasks), strict=True))
    finally:
        for task in tasks:
            task.cancel()
    return replace(request, messages=[_filled(message, found) for message in request.messages])


async def fetch(url: str, param: str, limits: Limits) -> bytes:
    """An image's bytes, whatever hops it takes to get there. Raises BadRequest."""
    try:
        async with asyncio.timeout(limits.seconds):
            for _ in range(limits.hops + 1):
                answer = await _get(url, param, limits)
                if isinstance(answer, bytes):
                    return checked_image(answer, param)
                url = urljoin(url, answer)
    except TimeoutError:
        raise BadRequest(
            f"The image did not come within {limits.seconds:g} seconds.", param=param
        ) from None
    except (OSError, h11.ProtocolError) as error:
        raise BadRequest(f"The image could not be fetched: {error}.", param=param) from None
    raise BadRequest(f"The image's address leads on more than {limits.hops} times.", param=param)


async def _get(url: str, param: str, limits: Limits) -> bytes | str:
    """The body, or where a redirect leads."""
    parts, port = _checked(url, param)
    host = str(parts.hostname)
    found = await addresses.resolve(host, port, param)
    if not found or not all(limits.is_public(address) for address in found):
        raise BadRequest(
            f"“{host}” is no public address; images are fetched from public ones only.", param=param
        )
    secure = _secure() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        found[0], port, ssl=secure, server_hostname=host if secure else None
    )
    try:
        return await _exchange(reader, writer, parts, param, limits)
    finally:
        writer.transport.abort()


def _checked(url: str, param: str) -> tuple[SplitResult, int]:
    """Its parts and port. Raises BadRequest."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise BadRequest(f"This is no valid address: {error}.", param=param) from None
    if not port or parts.scheme not in PORTS or not parts.hostname:
        raise BadRequest("Images are fetched from http and https addresses only.", param=param)
    if parts.username is not None:
        raise BadRequest("An image's address must hold no name or password.", param=param)
    return parts, port


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    parts: SplitResult,
    param: str,
    limits: Limits,
) -> bytes | str:
    connection = h11.Connection(h11.CLIENT)
    writer.write(connection.send(_request(parts)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(CHUNK_BYTES))
        elif isinstance(event, h11.Response):
            if (leads_to := _location(event)) is not None:
                return leads_to
            if event.status_code != 200:
                status = event.status_code
                raise BadRequest(f"The image's server answered {status}.", param=param)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > limits.size_bytes:
                most = limits.size_bytes / (1 << 20)
                raise BadRequest(f"The image has more than {most:g} MB.", param=param)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return bytes(body)


def _request(parts: SplitResult) -> h11.Request:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    return h11.Request(
        method="GET",
        target=_ascii(target),
        headers=[
            (b"Host", _ascii(host)),
            (b"Accept", b"image/*"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"mlx-gui"),
            (b"Connection", b"close"),
        ],
    )


def _ascii(text: str) -> bytes:
    """Characters beyond ASCII as percent escapes; a host's as the resolver writes them."""
    return quote(text, safe="%/:=&?~#+!$,;'@()*[]").encode()


def _location(response: h11.Response) -> str | None:
    if response.status_code not in REDIRECTS:
        return None
    return next((v.decode("latin-1") for k, v in response.headers if k == b"location"), None)


@cache
def _secure() -> ssl.SSLContext:
    return ssl.create_default_context()


def _addresses_of(request: GenerationRequest) -> dict[str, str]:
    """Each address, and the first message that names it."""
    found: dict[str, str] = {}
    for i, message in enumerate(request.messages):
        for part in parts_of(message):
            if isinstance(part, ImagePart) and part.url and not part.data:
                found.setdefault(part.url, f"messages[{i}].content")
    return found


def _filled(message: Message, found: dict[str, bytes]) -> Message:
    if isinstance(message.content, str):
        return message
    parts: list[Part] = [
        ImagePart(found[part.url]) if isinstance(part, ImagePart) and part.url in found else part
        for part in message.content
    ]
    return replace(message, content=parts)
