"""How much a request may send. Bounded while it is read, whether or not it says its length.

Daphne has the whole body on disk before the application hears of the request, so the bound must
stand here: nothing above could keep an endless body from filling the disk.
"""

import io
from typing import Any

import daphne.server
from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor

BODY_BYTES = 64 << 20
"""Of a JSON body: a conversation with a few photographs in it."""
FORM_BYTES = 512 << 20
"""Of a form with files: an hour of sound."""
LINGER_SECONDS = 2.0
"""A client that is still sending reads its refusal only if the connection stays for a moment."""


def limit_bytes(content_type: str) -> int:
    return FORM_BYTES if content_type.lower().startswith("multipart/") else BODY_BYTES


class BoundedRequest(WebRequest):
    """A request that is refused as soon as it proves too large."""

    content: Any
    left_bytes = BODY_BYTES
    is_refused = False

    def __init__(self, channel: Any, queued: Any = None) -> None:
        super().__init__(channel, queued)
        # Django reads forms; Twisted would hold the files of one in memory as well.
        self._parsePOSTFormSubmission = False

    def gotLength(self, length: int | None) -> None:
        kinds = self.requestHeaders.getRawHeaders(b"content-type", [b""])
        self.left_bytes = limit_bytes(kinds[0].decode("latin1"))
        too_large = length is not None and length > self.left_bytes
        super().gotLength(0 if too_large else length)
        if too_large:
            self.refuse()

    def handleContentChunk(self, data: bytes) -> None:
        self.left_bytes -= len(data)
        if self.is_refused:
            return
        if self.left_bytes < 0:
            self.refuse()
        else:
            super().handleContentChunk(data)

    def refuse(self) -> None:
        """413 at once; what still comes is dropped, and the connection ends."""
        self.is_refused = True
        self.content.close()
        self.content = io.BytesIO()
        self.requestHeaders.removeHeader(b"Expect")  # else “go on” would follow the refusal
        self.channel.transport.write(refusal_bytes(self.channel._path))
        reactor.callLater(LINGER_SECONDS, self.channel.loseConnection)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self.is_refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)


def refusal_bytes(uri: bytes) -> bytes:
    """A whole HTTP response, in the words of the dialect at this address."""
    from mlxgui.system.failures import refused_bytes  # needs Django's settings, the server does not
    from mlxgui.wire.errors import Refused

    path = uri.partition(b"?")[0].decode("latin1")
    text = f"A body may have {BODY_BYTES} bytes at most, a form with files {FORM_BYTES}."
    body = refused_bytes(path, Refused(413, "body_too_large", text))[1]
    head = (
        "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class BoundedFactory(HTTPFactory):
    def buildProtocol(self, address: Any) -> Any:
        channel = super().buildProtocol(address)
        channel.requestFactory = BoundedRequest
        return channel


def use_bounded_requests() -> None:
    """Daphne's server makes its factory by this name and has no argument for another."""
    daphne.server.HTTPFactory = BoundedFactory
