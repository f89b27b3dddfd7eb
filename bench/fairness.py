"""A short request while a long prompt is being read.

    python -m bench.fairness [--rounds 10] [--tokens 3500] [--chunk 512] [--model FOLDER]

Each server answers a short request alone, then one that arrives while it reads a long prompt.
Wanted of ours: at most 1.5 × alone plus the time of one chunk: the long prompt's time, times the
chunk's share of it; else it ends with 1. Printed: medians over the rounds, and how many times as
long the short request waits behind the long one as alone.
"""

import asyncio
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench import options, servers
from bench.client import stream
from bench.serving import MODEL
from bench.texts import Texts
from tests import tiny

SHORT_TOKENS = 20
WANTED = 1.5
ARRIVES_AFTER_SHARE = 0.3
"""Of the time that the long prompt takes alone."""


@dataclass
class Times:
    """Seconds to the first token, one for each round."""

    alone: list[float] = field(default_factory=list)
    long: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)
    """The short request, while the long one is read."""


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="after one to warm up (%(default)s)")
    parser.add_argument("--tokens", type=int, default=3500, help="of the long prompt (%(default)s)")
    parser.add_argument("--chunk", type=int, default=512, help="tokens read at once (%(default)s)")
    options.add_model(parser)
    chosen = parser.parse_args()
    found: dict[str, Times] = {}
    with tempfile.TemporaryDirectory(prefix="mlx-gui-bench-") as folder:
        work = Path(folder)
        model = chosen.model or tiny.make_text_model(work / "bench-model", MODEL)
        running: list[servers.Server] = []
        try:
            for start in servers.ALL:
                running.append(start(model, work))
            asyncio.run(measure(running, Texts(model), chosen.rounds, chosen.tokens, found))
        finally:
            for server in running:
                server.stop()
    sys.exit(report(found, chosen.chunk / chosen.tokens))


async def measure(
    running: list[servers.Server],
    texts: Texts,
    rounds: int,
    tokens: int,
    found: dict[str, Times],
) -> None:
    for number in range(rounds + 1):  # the first is a warm-up
        for server in running:
            times = found.setdefault(server.title, Times())
            alone = await first_token(server, texts.of(SHORT_TOKENS, f"{number} alone"))
            long = await first_token(server, texts.of(tokens, f"{number} long"))
            reading = asyncio.create_task(first_token(server, texts.of(tokens, f"{number} other")))
            await asyncio.sleep(long * ARRIVES_AFTER_SHARE)
            behind = await first_token(server, texts.of(SHORT_TOKENS, f"{number} behind"))
            await reading
            if number:
                times.alone.append(alone)
                times.long.append(long)
                times.behind.append(behind)
        print(f"round {number} of {rounds}", file=sys.stderr)


async def first_token(server: servers.Server, text: str) -> float:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 4, "temperature": 0.0}
    return (await stream(server, body)).first_token_seconds


def report(found: dict[str, Times], chunk_share: float) -> int:
    """0 where ours keeps what is wanted."""
    print("| server | short, alone | long prompt | short, behind it | allowed | behind ÷ alone |")
    print("| --- | --- | --- | --- | --- | --- |")
    kept = []
    for title, times in found.items():
        alone, long, behind = map(statistics.median, (times.alone, times.long, times.behind))
        allowed = WANTED * alone + long * chunk_share
        kept.append(behind <= allowed)
        cells = " | ".join(f"{one * 1e3:.1f} ms" for one in (alone, long, behind, allowed))
        print(f"| {title} | {cells} | {behind / alone:.1f} × |")
    return int(not kept[0])


if __name__ == "__main__":
    main()
