"""Our server, mlx_lm.server and mlx_vlm.server side by side on one small model, in one run.

    python -m bench.serving [--rounds 5] [--tokens 128] [--model FOLDER]

Each round asks every server in turn at 1, 4 and 16 streams, so that a machine whose speed drifts
drifts for all alike. Printed: medians over the rounds, the ratio to the better peer, the ratio to
the bare BatchGenerator loop, and the memory of each process tree.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench import servers
from bench.client import side_by_side
from tests import tiny

STREAMS = (1, 4, 16)
# About 2.6 million parameters: a step takes some milliseconds on a processor, as it does with a
# model of a few billion on a Mac's GPU.
MODEL = {**tiny.QWEN3, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6}
WORDS = "Tell me how a model is loaded, served and let go of again, please"

Numbers = dict[tuple[str, int], list[tuple[float, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlx-gui-bench-") as folder:
        work = Path(folder)
        model = chosen.model or tiny.make_text_model(work / "bench-model", MODEL)
        running = []
        try:
            for start in servers.ALL:
                running.append(start(model, work))
            numbers, memory = asyncio.run(measure(running, model, chosen.rounds, chosen.tokens))
        finally:
            for server in running:
                server.stop()
    print_table(numbers, memory, [server.title for server in running])


async def measure(
    running: list[servers.Server], model: Path, rounds: int, tokens: int
) -> tuple[Numbers, dict[str, int]]:
    numbers: Numbers = defaultdict(list)
    bare = start_bare(model)
    for round_number in range(rounds + 1):  # the first is a warm-up
        for streams in STREAMS:
            for server in running[round_number % 3 :] + running[: round_number % 3]:
                found = await side_by_side(server, bodies(round_number, streams, tokens))
                if round_number:
                    numbers[server.title, streams].append(found)
            found = ask_bare(bare, round_number, streams, tokens)
            if round_number:
                numbers["bare loop", streams].append(found)
        print(f"round {round_number} of {rounds}", file=sys.stderr)
    memory = {server.title: server.memory_bytes() for server in running}
    bare.kill()
    return numbers, memory


def start_bare(model: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bench.bare", str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=servers.ROOT,
        text=True,
    )


def prompts(round_number: int, streams: int) -> list[str]:
    """Different in each round and stream, so that no prompt cache can help."""
    return [f"{round_number}.{streams}.{i} {WORDS}" for i in range(streams)]


def bodies(round_number: int, streams: int, tokens: int) -> list[dict[str, object]]:
    return [
        {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
            "temperature": 0.0,
        }
        for text in prompts(round_number, streams)
    ]


def ask_bare(
    bare: "subprocess.Popen[str]", round_number: int, streams: int, tokens: int
) -> tuple[float, float]:
    assert bare.stdin is not None
    assert bare.stdout is not None
    job = {"prompts": prompts(round_number, streams), "max_tokens": tokens}
    bare.stdin.write(json.dumps(job) + "\n")
    bare.stdin.flush()
    found = json.loads(bare.stdout.readline())
    return found["tokens_per_second"], found["first_token_seconds"]


def print_table(numbers: Numbers, memory: dict[str, int], titles: list[str]) -> None:
    print("| streams | server | tokens/s | time to first token | resident memory |")
    print("| --- | --- | --- | --- | --- |")
    for streams in STREAMS:
        for title in [*titles, "bare loop"]:
            speed, first = medians(numbers, title, streams)
            size = f"{memory[title] / 1e6:,.0f} MB" if title in memory else "–"
            print(f"| {streams} | {title} | {speed:,.0f} | {first * 1e3:.1f} ms | {size} |")
    print("\nAgainst the better peer at each point:\n")
    print("| streams | tokens/s | time to first token | of the bare loop |")
    print("| --- | --- | --- | --- |")
    for streams in STREAMS:
        speed, first = ratios(numbers, titles, streams)
        ceiling = pairwise(numbers, titles[0], "bare loop", streams, 0)
        print(f"| {streams} | {speed:.2f} × | {first:.2f} × as long | {ceiling:.2f} × |")


def medians(numbers: Numbers, title: str, streams: int) -> tuple[float, float]:
    found = numbers[title, streams]
    return statistics.median(f[0] for f in found), statistics.median(f[1] for f in found)


def ratios(numbers: Numbers, titles: list[str], streams: int) -> tuple[float, float]:
    """Against the peer that is better at this point; medians of the rounds' own ratios."""
    ours, peers = titles[0], titles[1:]
    return (
        min(pairwise(numbers, ours, peer, streams, 0) for peer in peers),
        max(pairwise(numbers, ours, peer, streams, 1) for peer in peers),
    )


def pairwise(numbers: Numbers, a: str, b: str, streams: int, which: int) -> float:
    pairs = zip(numbers[a, streams], numbers[b, streams], strict=True)
    return statistics.median(x[which] / y[which] for x, y in pairs)


if __name__ == "__main__":
    main()
