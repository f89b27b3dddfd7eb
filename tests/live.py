"""A live server with models to serve: what the contract and browser tests talk to."""

import shutil
from pathlib import Path
from typing import Any

import psutil

from tests.server import ServerProcess


class LiveServer(ServerProcess):
    """`manage.py serve` on a data folder that may hold models; started and ready."""

    def __init__(self, home: Path, *models: Path, **environment: str) -> None:
        for folder in models:
            shutil.copytree(folder, home / "models" / folder.name, dirs_exist_ok=True)
        super().__init__(home, **{"HF_HUB_CACHE": str(home / "no-hub"), **environment})
        self.wait_ready()

    def workers(self) -> list[psutil.Process]:
        """Its children that hold models."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "mlxgui.engine.worker" in child.cmdline()]

    def get(self, path: str) -> Any:
        answer = self.ask(path)
        assert answer.status == 200, answer.body
        return answer.json()

    def send(self, method: str, path: str, value: Any = None) -> tuple[int, Any]:
        """(status, JSON body)."""
        answer = self.ask(path, method, value, {"Content-Type": "application/json"})
        return answer.status, answer.json()
