"""A light client: raw sockets on one event loop, so that what is measured is the server."""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Any

from bench.servers import Server

FIRST_CONTENT = re.compile(rb'"(?:content|reasoning|reasoning_content)"\s*:\s*"[^"]')
USAGE = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')
READ_BYTES = 1 << 16


class Refused(Exception):
    """The server answered with something else than a stream of tokens."""


@dataclass
class Answer:
    """Seconds from sending the request; tokens as the server counts them."""

    first_token_seconds: float
    total_seconds: float
    tokens: int
    data: bytes

    @property
    def chunks(self) -> list[dict[str, Any]]:
        lines = (line.strip() for line in self.data.split(b"\n"))
        found = (line[5:].strip() for line in lines if line.startswith(b"data:"))
        return [json.loads(one) for one in found if one != b"[DONE]"]

    @property
    def text(self) -> str:
        deltas = (choice.get("delta", {}) for one in self.chunks for choice in one["choices"])
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def usage(self) -> dict[str, Any]:
        return next((one["usage"] for one in reversed(self.chunks) if one.get("usage")), {})

    @property
    def cached_tokens(self) -> int:
        return int((self.usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)


async def stream(server: Server, body: dict[str, object]) -> Answer:
    """One streaming request. The first token is the first *visible* delta, not the role chunk.

    Raises Refused.
    """
    payload = json.dumps(
        {
            "model": server.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            **body,
            **server.extra,
        }
    ).encode()
    head = (
        f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode() + payload)
    data, first = bytearray(), 0.0
    while piece := await reader.read(READ_BYTES):
        data += piece
        if not first and FIRST_CONTENT.search(data):
            first = time.perf_counter()
        if data.endswith(b"[DONE]\n\n") or b"[DONE]\n\n\r\n" in piece:
            break
    ended = time.perf_counter()
    writer.close()
    counts = USAGE.findall(bytes(data))
    if not counts or not first:
        raise Refused(f"{server.title} answered: {reason(data)}")
    return Answer(first - started, ended - started, int(counts[-1]), without_chunk_sizes(data))


def reason(data: bytearray) -> str:
    """The body of a refusal, in one short line."""
    body = data.partition(b"\r\n\r\n")[2] or data
    body = bytearray(re.sub(rb"^[0-9a-fA-F]+\r\n", b"", without_chunk_sizes(body)))
    return " ".join(body.decode(errors="replace").split())[:300]


def without_chunk_sizes(data: bytearray) -> bytes:
    """The body as it was before it was sent in chunks: sizes stand on lines of their own."""
    return re.sub(rb"\r\n[0-9a-fA-F]+\r\n", b"", bytes(data))


async def side_by_side(server: Server, bodies: list[dict[str, object]]) -> list[Answer]:
    return list(await asyncio.gather(*(stream(server, body) for body in bodies)))
