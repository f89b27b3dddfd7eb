"""Our server, mlx_lm.server and mlx_vlm.server side by side on one small model, in one run.

    python -m bench.serving [--rounds 5] [--tokens 128] [--model FOLDER] [--kinds plain,seed,...]

Each round asks every server in turn at 1, 4 and 16 streams, so that a machine whose speed drifts
drifts for all alike; once for plain requests, once each with a seed, a JSON schema and log
probabilities. Printed: medians over the rounds, the ratio to the better peer, the ratio to the bare
BatchGenerator loop with plain requests of the same round, and the memory of each process tree.
Where a server refuses what was asked, or answers as if it had not been asked, that stands in the
place of the numbers or beside them.
"""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import options, servers
from bench.client import Answer, Refused, side_by_side
from tests import tiny

STREAMS = (1, 4, 16)
# About 2.6 million parameters: a step takes some milliseconds on a processor, as it does with a
# model of a few billion on a Mac's GPU.
MODEL = {**tiny.QWEN3, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6}
WORDS = "Tell me how a model is loaded, served and let go of again, please"
NUMBERS = {
    "type": "object",
    "properties": {
        "numbers": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 999},
            "minItems": 500,
        }
    },
    "required": ["numbers"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "numbers", "schema": NUMBERS}}
BARE = "bare loop"


@dataclass(frozen=True)
class Kind:
    """A way to ask. `honoured` says whether an answer did what was asked."""

    name: str
    extra: dict[str, object] = field(default_factory=dict)
    honoured: Callable[[Answer], bool] = lambda answer: True


KINDS = {
    kind.name: kind
    for kind in (
        Kind("plain", {"temperature": 0.0}),
        Kind("seed", {"temperature": 0.8, "seed": 7}),
        Kind(
            "json_schema",
            {"temperature": 0.0, "response_format": FORMAT},
            lambda answer: bool(re.fullmatch(r'\s*\{\s*"numbers"\s*:\s*\[?[\d,\s]*', answer.text)),
        ),
        Kind(
            "logprobs",
            {"temperature": 0.0, "logprobs": True, "top_logprobs": 3},
            lambda answer: b'"top_logprobs"' in answer.data,
        ),
    )
}


@dataclass
class Numbers:
    """What one server did with one kind at one number of streams; a pair for each round:
    (tokens per second of all together, median seconds to the first token)."""

    pairs: list[tuple[float, float]] = field(default_factory=list)
    refused: str = ""
    ignored: bool = False

    def median(self, which: int) -> float:
        return statistics.median(pair[which] for pair in self.pairs)


Table = dict[tuple[str, str, int], Numbers]


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="after one to warm up (%(default)s)")
    parser.add_argument("--tokens", type=int, default=128, help="of each answer (%(default)s)")
    options.add_model(parser)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of requests (%(default)s)")
    chosen = parser.parse_args()
    kinds = [KINDS[name] for name in chosen.kinds.split(",")]
    with tempfile.TemporaryDirectory(prefix="mlx-gui-bench-") as folder:
        work = Path(folder)
        model = chosen.model or tiny.make_text_model(work / "bench-model", MODEL)
        running: list[servers.Server] = []
        try:
            for start in servers.ALL:
                running.append(start(model, work))
            table, memory = asyncio.run(
                measure(running, model, kinds, chosen.rounds, chosen.tokens)
            )
        finally:
            for server in running:
                server.stop()
    for kind in kinds:
        print_table(table, kind.name, memory, [server.title for server in running])


async def measure(
    running: list[servers.Server], model: Path, kinds: list[Kind], rounds: int, tokens: int
) -> tuple[Table, dict[str, int]]:
    table: Table = defaultdict(Numbers)
    bare = start_bare(model)
    for round_number in range(rounds + 1):  # the first is a warm-up
        for kind in kinds:
            for streams in STREAMS:
                turn = round_number % len(running)
                for server in running[turn:] + running[:turn]:
                    numbers = table[server.title, kind.name, streams]
                    asked = bodies(kind, round_number, streams, tokens)
                    await ask(server, kind, asked, numbers, keep=round_number > 0)
                if kind.name == "plain":
                    found = ask_bare(bare, round_number, streams, tokens)
                    if round_number:
                        table[BARE, kind.name, streams].pairs.append(found)
        print(f"round {round_number} of {rounds}", file=sys.stderr)
    memory = {server.title: server.memory_bytes() for server in running}
    bare.kill()
    return table, memory


async def ask(
    server: servers.Server,
    kind: Kind,
    asked: list[dict[str, object]],
    numbers: Numbers,
    *,
    keep: bool,
) -> None:
    if numbers.refused:
        return
    started = time.perf_counter()
    try:
        answers = await side_by_side(server, asked)
    except (Refused, OSError) as refusal:
        numbers.refused = str(refusal)
        return
    seconds = time.perf_counter() - started
    numbers.ignored = numbers.ignored or not all(kind.honoured(one) for one in answers)
    if keep:
        firsts = sorted(answer.first_token_seconds for answer in answers)
        speed = sum(answer.tokens for answer in answers) / seconds
        numbers.pairs.append((speed, firsts[len(firsts) // 2]))


def start_bare(model: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bench.bare", str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=servers.ROOT,
        text=True,
    )


def prompts(kind: str, round_number: int, streams: int) -> list[str]:
    """Different in each round and stream, so that no prompt cache can help."""
    return [f"{kind}.{round_number}.{streams}.{i} {WORDS}" for i in range(streams)]


def bodies(kind: Kind, round_number: int, streams: int, tokens: int) -> list[dict[str, object]]:
    return [
        {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, **kind.extra}
        for text in prompts(kind.name, round_number, streams)
    ]


def ask_bare(
    bare: "subprocess.Popen[str]", round_number: int, streams: int, tokens: int
) -> tuple[float, float]:
    assert bare.stdin is not None
    assert bare.stdout is not None
    job = {"prompts": prompts("plain", round_number, streams), "max_tokens": tokens}
    bare.stdin.write(json.dumps(job) + "\n")
    bare.stdin.flush()
    found = json.loads(bare.stdout.readline())
    return found["tokens_per_second"], found["first_token_seconds"]


def print_table(table: Table, kind: str, memory: dict[str, int], titles: list[str]) -> None:
    rows = [*titles, BARE] if kind == "plain" else titles
    print(f"\n## {kind}\n")
    print("| streams | server | tokens/s | time to first token | resident memory |")
    print("| --- | --- | --- | --- | --- |")
    for streams in STREAMS:
        for title in rows:
            numbers = table[title, kind, streams]
            size = f"{memory[title] / 1e6:,.0f} MB" if title in memory else "–"
            print(f"| {streams} | {title} | {words(numbers)} | {size} |")
    for why in sorted({n.refused for (_, of, _), n in table.items() if of == kind} - {""}):
        print(f"\nRefused: {why}")
    print("\nAgainst the better peer at each point, of those that did what was asked:\n")
    print("| streams | tokens/s | time to first token | of the bare loop, plain |")
    print("| --- | --- | --- | --- |")
    for streams in STREAMS:
        print(f"| {streams} | {ratios(table, kind, titles, streams)} |")


def words(numbers: Numbers) -> str:
    if numbers.refused or not numbers.pairs:
        return "refused | –"
    note = " (ignored what was asked)" if numbers.ignored else ""
    return f"{numbers.median(0):,.0f}{note} | {numbers.median(1) * 1e3:.1f} ms"


def ratios(table: Table, kind: str, titles: list[str], streams: int) -> str:
    """Medians of the rounds' own ratios."""
    ours = table[titles[0], kind, streams]
    peers = [table[title, kind, streams] for title in titles[1:]]
    peers = [peer for peer in peers if peer.pairs and not peer.refused and not peer.ignored]
    bare = table[BARE, "plain", streams]
    ceiling = f"{pairwise(ours, bare, 0):.2f} ×" if bare.pairs else "–"
    if not peers:
        return f"no peer does this | – | {ceiling}"
    speed = min(pairwise(ours, peer, 0) for peer in peers)
    first = max(pairwise(ours, peer, 1) for peer in peers)
    return f"{speed:.2f} × | {first:.2f} × as long | {ceiling}"


def pairwise(a: Numbers, b: Numbers, which: int) -> float:
    pairs = zip(a.pairs, b.pairs, strict=True)
    return statistics.median(x[which] / y[which] for x, y in pairs)


if __name__ == "__main__":
    main()
