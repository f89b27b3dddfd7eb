"""The servers under test, each a real child process on a free port with the same model folder."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.server import outside

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60


@dataclass
class Server:
    """One running server: where to send requests, under which model name."""

    title: str
    port: int
    model: str
    process: subprocess.Popen[bytes]
    path: str = "/v1/chat/completions"
    extra: dict[str, object] = field(default_factory=dict)

    def memory_bytes(self) -> int:
        """Resident memory of the process and all its children."""
        parent = psutil.Process(self.process.pid)
        tree = [parent, *parent.children(recursive=True)]
        return sum(process.memory_info().rss for process in tree if process.is_running())

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_ours(model: Path, work: Path) -> Server:
    """MLX GUI, with as many requests side by side as the others allow by default (32)."""
    home = work / "home"
    (home / "models").mkdir(parents=True, exist_ok=True)
    link = home / "models" / model.name
    if not link.exists():
        subprocess.run(["cp", "-r", str(model), str(link)], check=True)
    port = free_port()
    environment = {"MLX_GUI_HOME": str(home), "MLX_GUI_PORT": str(port)}
    server = _start(
        "mlx-gui", [str(ROOT / "manage.py"), "serve"], port, model.name, work, environment
    )
    put(f"http://127.0.0.1:{port}/v1/settings/max_concurrent_requests", b'{"value": 32}')
    return server


def start_mlx_lm(model: Path, work: Path) -> Server:
    port = free_port()
    arguments = ["-m", "mlx_lm", "server", "--model", str(model), "--port", str(port)]
    return _start("mlx_lm.server", arguments, port, str(model), work)


def start_mlx_vlm(model: Path, work: Path) -> Server:
    port = free_port()
    arguments = ["-m", "mlx_vlm.server", "--model", str(model), "--port", str(port)]
    return _start("mlx_vlm.server", [*arguments, "--host", "127.0.0.1"], port, str(model), work)


ALL: list[Callable[[Path, Path], Server]] = [start_ours, start_mlx_lm, start_mlx_vlm]


def _start(
    title: str,
    arguments: list[str],
    port: int,
    model: str,
    work: Path,
    environment: dict[str, str] | None = None,
) -> Server:
    log = work / f"{title}.log"
    with log.open("wb") as opened:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=opened,
            stderr=opened,
            cwd=ROOT,
            env={**outside(), "HF_HUB_OFFLINE": "1", **(environment or {})},
        )
    until = time.monotonic() + START_SECONDS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{title} did not start; see {log}")
        time.sleep(0.1)
    return Server(title, port, model, process)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def put(url: str, body: bytes) -> None:
    request = urllib.request.Request(
        url, data=body, method="PUT", headers={"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


def get(server: Server, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
