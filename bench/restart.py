"""A long prompt, cold and then from disk after the server was restarted.

    python -m bench.restart [--prompts 5] [--tokens 2000] [--model FOLDER]

Each prompt is asked once of a server that has not seen it; the server is stopped and started; each
is asked again. The model is loaded and its kernels are compiled before anything is measured, both
times. Printed: medians, their ratio (wanted: at most 0.25; else it ends with 1), and how much of
the prompt came from disk.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import urllib.request
from pathlib import Path

from bench import options, servers
from bench.client import Answer, stream
from bench.serving import MODEL
from bench.texts import Texts
from tests import tiny

WANTED = 0.25


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--prompts", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument("--tokens", type=int, default=2000, help="of each prompt (%(default)s)")
    options.add_model(parser)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlx-gui-bench-") as folder:
        work = Path(folder)
        model = chosen.model or tiny.make_text_model(work / "bench-model", MODEL)
        texts = Texts(model)
        prompts = [texts.of(chosen.tokens, number) for number in range(chosen.prompts)]
        cold = one_life(model, work, prompts, texts.of(chosen.tokens, "warm-up"))
        warm = one_life(model, work, prompts, texts.of(chosen.tokens, "another warm-up"))
    sys.exit(report(cold, warm))


def one_life(model: Path, work: Path, prompts: list[str], warm_up: str) -> list[Answer]:
    """A server from start to end. Its end waits for what is still to be written."""
    server = servers.start_ours(model, work)
    try:
        post(server, f"/v1/models/{server.model}/load")
        asyncio.run(ask(server, warm_up))
        return [asyncio.run(ask(server, text)) for text in prompts]
    finally:
        server.stop()


async def ask(server: servers.Server, text: str) -> Answer:
    messages = [{"role": "user", "content": text}]
    return await stream(server, {"messages": messages, "max_tokens": 4, "temperature": 0.0})


def post(server: servers.Server, path: str) -> None:
    url = f"http://127.0.0.1:{server.port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as answer:
        json.load(answer)


def report(cold: list[Answer], warm: list[Answer]) -> int:
    before = statistics.median(one.first_token_seconds for one in cold)
    after = statistics.median(one.first_token_seconds for one in warm)
    print("| | time to first token | of the prompt from disk |")
    print("| --- | --- | --- |")
    for title, seconds, answers in (("cold", before, cold), ("after a restart", after, warm)):
        shares = [one.cached_tokens / max(1, one.usage["prompt_tokens"]) for one in answers]
        print(f"| {title} | {seconds * 1e3:.1f} ms | {statistics.median(shares):.0%} |")
    print(f"\nratio: {after / before:.2f} (wanted: at most {WANTED})")
    return int(after / before > WANTED)


if __name__ == "__main__":
    main()
