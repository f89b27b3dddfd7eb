"""A real server in a process of its own, as `make run` starts it."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 30.0


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def outside() -> dict[str, str]:
    """The environment without what belongs to the test run: its settings, its make."""
    ours = ("MLX_GUI_", "DJANGO_", "MAKE", "MFLAGS")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)}


class ServerProcess:
    """`manage.py serve` on a free port. A context manager: it is stopped at the end."""

    def __init__(self, home: Path, *flags: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "manage.py", "serve", *flags],
            cwd=ROOT,
            env=outside() | {"MLX_GUI_HOME": str(home), "MLX_GUI_PORT": "0"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def wait_ready(self) -> str:
        """The address that it printed."""
        line = self.lines.get(timeout=READY_SECONDS)
        assert " is ready at " in line, f"{line!r} {''.join(self.errors)}"
        self.url = line.split(" is ready at ")[1].strip().rstrip("/")
        return self.url

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        data = json.dumps(body).encode() if body is not None else None
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
        connection = HTTPConnection(host, int(port), timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, data, headers or {})
            got = connection.getresponse()
            return Answer(got.status, got.headers, got.read())

    def wait_exit(self, timeout: float = 10.0) -> tuple[int, str]:
        """Its exit status and what it wrote to stderr."""
        status = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return status, "".join(self.errors)

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.wait_exit()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
