"""Mixed requests for a long while, a third of them given up: does anything stay behind?

    python -m bench.soak [--requests 2000] [--side-by-side 8]

Plain, streamed, several choices, schemas, tools, log probabilities, seeds, stops, long prompts;
every third is cut off by the client: before the answer, at its head, or in the midst of it.
Printed: resident memory of the whole process tree as it goes; the growth of its floor after the
warm-up (at most 1 %); places still taken; processes left behind. Ends with 1 where one is not as it
should be.
"""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench import options, servers
from tests import tiny

GROWTH = 1.01
WARM_UP_SHARE = 0.25
LOOKS = 100
LOOKS_A_LINE = 5
SETTLE_SECONDS = 10.0
REST_SECONDS = 0.5
"""A worker gives back what it does not need when nobody has asked for a moment."""
WORDS = "Tell me how a model is loaded, served and let go of again, please. "
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "size": {"type": "integer"}},
    "required": ["name", "size"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Look it up.", "parameters": SCHEMA},
}


@dataclass
class Found:
    """What a run showed. Memory in bytes, one number for each look."""

    memory: list[int] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    busy: int = 0
    children: int = 0
    left: int = 0
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """The floor of the last looks against that of the first after the warm-up. Buffers that
        the last requests left behind come and go by some tens of megabytes; what leaks stays, and
        so lifts the floor."""
        warm = self.memory[int(len(self.memory) * WARM_UP_SHARE) :]
        third = max(1, len(warm) // 3)
        return min(warm[-third:]) / min(warm[:third])


def body_of(number: int) -> dict[str, object]:
    """The kinds take turns; lengths and seeds differ from request to request."""
    dice = random.Random(number)
    long = number % 11 == 0
    body: dict[str, object] = {
        "messages": [{"role": "user", "content": f"{number} {WORDS * (20 if long else 1)}"}],
        "max_tokens": dice.choice((4, 12, 40)),
        "stream": number % 2 == 0,
    }
    kinds: list[dict[str, object]] = [
        {},
        {"n": 3, "temperature": 1.0},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": SCHEMA},
            }
        },
        {"tools": [TOOL], "tool_choice": "required"},
        {"logprobs": True, "top_logprobs": 3},
        {"seed": number, "temperature": 0.8, "top_p": 0.9},
        {"stop": ["e", "\n"], "repetition_penalty": 1.1},
    ]
    return {**body, **kinds[number % len(kinds)]}


async def ask(server: servers.Server, number: int) -> str:
    """The status of the answer, or "given up"."""
    body = {"model": server.model, **body_of(number)}
    gives_up = number % 3 == 2
    if gives_up:
        body["max_tokens"] = 400
    payload = json.dumps(body).encode()
    head = (
        f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(head.encode() + payload)
        await writer.drain()
        if gives_up:
            await give_up(reader, random.Random(number))
            return "given up"
        answer = await reader.read()
        return answer.split(b" ", 2)[1].decode() if answer else "nothing"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def give_up(reader: asyncio.StreamReader, dice: random.Random) -> None:
    """At once, after a moment, at the head of the answer, or some way into it."""
    phase = dice.randrange(4)
    if phase == 1:
        await asyncio.sleep(dice.random() * 0.1)
    elif phase > 1:
        with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.readexactly(1 if phase == 2 else dice.randrange(200, 2000))


async def run(server: servers.Server, requests: int, side_by_side: int) -> Found:
    found = Found()
    started = time.monotonic()
    every = max(2 * side_by_side, requests // LOOKS)
    for first in range(0, requests, every):
        numbers = iter(range(first, min(first + every, requests)))

        async def work(numbers: Iterator[int] = numbers) -> None:
            for number in numbers:
                status = await ask(server, number)
                found.statuses[status] = found.statuses.get(status, 0) + 1

        await asyncio.gather(*(work() for _ in range(side_by_side)))
        until_idle(server)
        await asyncio.sleep(REST_SECONDS)
        found.memory.append(server.memory_bytes())
        if len(found.memory) % LOOKS_A_LINE == 0:
            low = min(found.memory[-LOOKS_A_LINE:])
            print(f"{first + every:6} requests: {low / 1e6:8.1f} MB", flush=True)
    found.busy = until_idle(server)
    found.children = len(psutil.Process(server.process.pid).children(recursive=True))
    found.seconds = time.monotonic() - started
    return found


def until_idle(server: servers.Server) -> int:
    """Places still taken after a while; 0 as soon as none is."""
    until = time.monotonic() + SETTLE_SECONDS
    busy = places_taken(server)
    while busy and time.monotonic() < until:
        time.sleep(0.1)
        busy = places_taken(server)
    return busy


def places_taken(server: servers.Server) -> int:
    models = servers.get(server, "/v1/manager/status")["loaded_models"]
    return sum(model["in_flight"] + model["waiting"] for model in models.values())


def soak(work: Path, requests: int, side_by_side: int) -> Found:
    """A server of our own from start to end, on a tiny model, without kept prompts."""
    server = servers.start_ours(tiny.make_text_model(work / "bench-model"), work)
    tree = [psutil.Process(server.process.pid)]
    try:
        url = f"http://127.0.0.1:{server.port}/v1/settings/"
        servers.put(f"{url}prompt_cache_memory_percent", b'{"value": 0}')
        servers.put(f"{url}prompt_cache_disk_gb", b'{"value": 0}')
        found = asyncio.run(run(server, requests, side_by_side))
        tree += tree[0].children(recursive=True)
    finally:
        server.stop()
    found.left = sum(one.is_running() for one in tree)
    return found


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="in all (%(default)s)")
    parser.add_argument("--side-by-side", type=int, default=8, help="clients (%(default)s)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlx-gui-soak-") as folder:
        found = soak(Path(folder), chosen.requests, chosen.side_by_side)
    print(f"\n{chosen.requests} requests in {found.seconds:.0f} s: {found.statuses}")
    print(f"floor of memory after the warm-up: × {found.growth:.4f} (at most {GROWTH})")
    print(f"places still taken: {found.busy}; processes left behind: {found.left}")
    sys.exit(found.growth > GROWTH or found.busy > 0 or found.left > 0)


if __name__ == "__main__":
    main()
