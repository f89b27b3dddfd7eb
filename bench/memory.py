"""Resident memory of the web process and of the whole tree over many mixed requests.

    python -m bench.memory [--requests 2000]

A third of the requests are streams that the client gives up after the first words. Printed: memory
at start, after 100 requests, and after all; and whether a place or a process was left behind.
"""

import http.client
import json
import tempfile
from pathlib import Path

import psutil

from bench import options, servers
from tests import tiny

WARM_UP_REQUESTS = 100


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="after 100 (%(default)s)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlx-gui-bench-") as folder:
        work = Path(folder)
        server = servers.start_ours(tiny.make_text_model(work / "bench-model"), work)
        try:
            measure(server, chosen.requests)
        finally:
            server.stop()


def measure(server: servers.Server, requests: int) -> None:
    web = psutil.Process(server.process.pid)
    print("| after | web process | process tree |")
    print("| --- | --- | --- |")
    done = 0
    for until in (
        1,
        WARM_UP_REQUESTS,
        requests // 2 + WARM_UP_REQUESTS,
        requests + WARM_UP_REQUESTS,
    ):
        for number in range(done, until):
            ask(server, number)
        done = until
        size = f"{web.memory_info().rss / 1e6:.1f} MB | {server.memory_bytes() / 1e6:.1f} MB"
        print(f"| {done} {'request' if done == 1 else 'requests'} | {size} |", flush=True)
    status = servers.get(server, "/v1/manager/status")
    busy = sum(model["in_flight"] for model in status["loaded_models"].values())
    print(f"\nplaces still taken: {busy}; child processes: {len(web.children(recursive=True))}")


def ask(server: servers.Server, number: int) -> None:
    """Plain, streamed, or streamed and given up; with seeds, stops and schemas among them."""
    kind = number % 3
    body: dict[str, object] = {
        "model": server.model,
        "messages": [{"role": "user", "content": f"{number} tell me of classes"}],
        "max_tokens": 400 if kind == 2 else 12,
        "stream": kind > 0,
        "seed": number,
    }
    if number % 5 == 0:
        body["stop"] = ["e"]
    if number % 7 == 0:
        body["response_format"] = {"type": "regex", "regex": "[a-z]{1,9}"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", server.path, json.dumps(body))
    answer = connection.getresponse()
    answer.read(300 if kind == 2 else None)
    connection.close()


if __name__ == "__main__":
    main()
