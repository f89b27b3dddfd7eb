"""Conversations that grow: how long until the first token, turn after turn.

    python -m bench.conversation [--rounds 3] [--turns 10] [--model FOLDER]

First, one conversation of ten turns: our server, mlx_lm.server, and a bare loop that keeps one KV
cache and prefills only the new tokens; each turn is asked of all three before the next, in changing
order. Then four conversations that take turns and share a system prompt of 1,500 tokens. Printed:
medians over the rounds for each turn, and of the rounds' own ratios. Wanted of each turn: at most
1.2 × the bare loop, and not above mlx_lm.server. Ends with 1 where one is.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench import options, servers
from bench.client import stream
from bench.serving import MODEL
from bench.texts import Texts
from tests import tiny

QUESTION_TOKENS = 60
ANSWER_TOKENS = 24
SYSTEM_TOKENS = 1500
CONVERSATIONS = 4
SHARED_TURNS = 4
BARE = "bare loop"
WANTED = {BARE: 1.2, "mlx_lm.server": 1.0}

Messages = list[dict[str, str]]
Times = dict[str, dict[str, list[float]]]
"""Seconds to the first token by turn, then by server."""


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="after one to warm up (%(default)s)")
    parser.add_argument(
        "--turns", type=int, default=10, help="of the one conversation (%(default)s)"
    )
    options.add_model(parser)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlx-gui-bench-") as folder:
        work = Path(folder)
        model = chosen.model or tiny.make_text_model(work / "bench-model", MODEL)
        running: list[servers.Server] = []
        bare = start_bare(model)
        try:
            for start in (servers.start_ours, servers.start_mlx_lm):
                running.append(start(model, work))
            growing, shared = asyncio.run(
                measure(running, bare, Texts(model), chosen.rounds, chosen.turns)
            )
        finally:
            bare.kill()
            for server in running:
                server.stop()
    titles = [server.title for server in running]
    worst = print_table("One conversation that grows", growing, [*titles, BARE])
    title = "Four conversations with one system prompt of 1,500 tokens"
    above = print_table(title, shared, titles)
    sys.exit(any(one > WANTED[title] for each in (worst, above) for title, one in each.items()))


def start_bare(model: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bench.bare_chat", str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=servers.ROOT,
        text=True,
    )


async def measure(
    running: list[servers.Server],
    bare: "subprocess.Popen[str]",
    texts: Texts,
    rounds: int,
    turns: int,
) -> tuple[Times, Times]:
    growing: Times = defaultdict(lambda: defaultdict(list))
    shared: Times = defaultdict(lambda: defaultdict(list))
    for number in range(rounds + 1):  # the first is a warm-up
        keep = number > 0
        await grow(running, bare, texts, number, turns, growing if keep else None)
        await share(running, texts, number, shared if keep else None)
        print(f"round {number} of {rounds}", file=sys.stderr)
    return growing, shared


def turned[T](askable: list[T], number: int) -> list[T]:
    """Another one first each time."""
    start = number % len(askable)
    return askable[start:] + askable[:start]


async def ask(server: servers.Server, messages: Messages) -> tuple[float, str]:
    """(seconds to the first token, the answer)."""
    body = {"messages": messages, "max_tokens": ANSWER_TOKENS, "temperature": 0.0}
    answer = await stream(server, body)
    return answer.first_token_seconds, answer.text


def ask_bare(bare: "subprocess.Popen[str]", messages: Messages) -> tuple[float, str]:
    """Like `ask`."""
    assert bare.stdin is not None
    assert bare.stdout is not None
    bare.stdin.write(json.dumps({"messages": messages, "max_tokens": ANSWER_TOKENS}) + "\n")
    bare.stdin.flush()
    found = json.loads(bare.stdout.readline())
    return found["first_token_seconds"], found["text"]


async def grow(
    running: list[servers.Server],
    bare: "subprocess.Popen[str]",
    texts: Texts,
    number: int,
    turns: int,
    times: Times | None,
) -> None:
    """One conversation, turn by turn with each server and the bare loop. It goes on with the first
    server's answer, so that all read the same."""
    titles = [*(server.title for server in running), BARE]
    messages: Messages = []
    for turn in range(1, turns + 1):
        messages.append({"role": "user", "content": question(texts, number, turn)})
        answers: dict[str, str] = {}
        for place in turned(list(range(len(titles))), number + turn):
            asked = ask_bare(bare, messages) if place == len(running) else None
            seconds, answers[titles[place]] = asked or await ask(running[place], messages)
            if times is not None:
                times[f"{turn}"][titles[place]].append(seconds)
        messages.append({"role": "assistant", "content": answers[titles[0]]})


def question(texts: Texts, number: int, turn: int) -> str:
    return texts.of(QUESTION_TOKENS, f"{number}.{turn}")


async def share(
    running: list[servers.Server], texts: Texts, number: int, times: Times | None
) -> None:
    """Conversations that take turns; with each server as in `grow`."""
    system = texts.of(SYSTEM_TOKENS, f"system {number}")
    said: list[Messages] = [[{"role": "system", "content": system}] for _ in range(CONVERSATIONS)]
    for turn in range(1, SHARED_TURNS + 1):
        for conversation, messages in enumerate(said):
            question = texts.of(QUESTION_TOKENS, f"{number}.{conversation}.{turn}")
            messages.append({"role": "user", "content": question})
            answers: dict[str, str] = {}
            for server in turned(running, number + turn + conversation):
                seconds, answers[server.title] = await ask(server, messages)
                if times is not None:
                    times[name_of(turn, conversation)][server.title].append(seconds)
            messages.append({"role": "assistant", "content": answers[running[0].title]})


def name_of(turn: int, conversation: int) -> str:
    if turn > 1:
        return f"turn {turn}"
    return "the very first (cold)" if conversation == 0 else "first turn of the others"


def print_table(title: str, times: Times, titles: list[str]) -> dict[str, float]:
    """Medians of the rounds' own ratios, ours over each of the others. Returned: the largest."""
    ours, others = titles[0], titles[1:]
    print(f"\n## {title}\n\nTime to the first token, in milliseconds.\n")
    print(f"| turn | {' | '.join(titles)} | {' | '.join(f'of {one}' for one in others)} |")
    print(f"| --- {'| --- ' * (len(titles) + len(others))}|")
    worst = dict.fromkeys(others, 0.0)
    for turn, found in times.items():
        medians = {title: statistics.median(found[title]) for title in titles}
        cells = [f"{medians[title] * 1e3:.1f}" for title in titles]
        ratios = {other: ratio(found[ours], found[other]) for other in others}
        worst = {other: max(worst[other], ratios[other]) for other in others}
        shown = " | ".join(f"{one:.2f} ×" for one in ratios.values())
        print(f"| {turn} | {' | '.join(cells)} | {shown} |")
    said = (f"{worst[one]:.2f} × {one} (at most {WANTED[one]:.1f})" for one in others)
    print(f"\nThe slowest turn: {'; '.join(said)}.")
    return worst


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
