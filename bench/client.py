"""A light client: raw sockets on one event loop, so that what is measured is the server."""

import asyncio
import json
import re
import time
from dataclasses import dataclass

from bench.servers import Server

FIRST_CONTENT = re.compile(rb'"(?:content|reasoning|reasoning_content)"\s*:\s*"[^"]')
USAGE = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')
READ_BYTES = 1 << 16


@dataclass
class Answer:
    """Seconds from sending the request; tokens as the server counts them."""

    first_token_seconds: float
    total_seconds: float
    tokens: int


async def stream(server: Server, body: dict[str, object]) -> Answer:
    """One streaming request. The first token is the first *visible* delta, not the role chunk."""
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
        raise SystemExit(f"{server.title} answered: {bytes(data[:600])!r}")
    return Answer(first - started, ended - started, int(counts[-1]))


async def side_by_side(server: Server, bodies: list[dict[str, object]]) -> tuple[float, float]:
    """(tokens per second of all together, median time to first token in seconds)."""
    started = time.perf_counter()
    answers = await asyncio.gather(*(stream(server, body) for body in bodies))
    seconds = time.perf_counter() - started
    firsts = sorted(answer.first_token_seconds for answer in answers)
    return sum(answer.tokens for answer in answers) / seconds, firsts[len(firsts) // 2]
