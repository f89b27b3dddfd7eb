"""A live server with models to serve: what the contract and browser tests talk to."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from tests.server import ROOT, ServerProcess, outside

# One folder of compiled kernels for all tests: compiling them anew takes seconds.
KERNELS = Path(tempfile.gettempdir()) / f"mlx-gui-test-kernels-{os.getuid()}"
KERNELS.mkdir(mode=0o700, exist_ok=True)
DATABASE = "mlx-gui.sqlite3"


@functools.cache
def migrated() -> Path:
    """An empty database, made once. Servers that make their own: tests/system/test_serve.py."""
    folder = Path(tempfile.mkdtemp(prefix="mlx-gui-test-database-"))
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"],
        cwd=ROOT,
        env=outside() | {"MLX_GUI_HOME": str(folder)},
        check=True,
    )
    return folder / DATABASE


class LiveServer(ServerProcess):
    """`manage.py serve` on a data folder that may hold models; started and ready."""

    def __init__(self, home: Path, *models: Path, **environment: str) -> None:
        self.home = home
        for folder in models:
            shutil.copytree(folder, home / "models" / folder.name, dirs_exist_ok=True)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (home / DATABASE).exists():
            shutil.copy(migrated(), home / DATABASE)
            (home / "scratch").symlink_to(KERNELS)
        super().__init__(home, **{"HF_HUB_CACHE": str(home / "no-hub"), **environment})
        self.wait_ready()

    def workers(self) -> list[psutil.Process]:
        """Its children that hold models."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "mlxgui.engine.worker" in child.cmdline()]

    def end_jobs(self) -> None:
        """Downloads outlive their server, which is what they are for."""
        folder = str(self.home / "jobs")
        for process in psutil.process_iter(["cmdline"]):
            if any(argument.startswith(folder) for argument in process.info["cmdline"] or []):
                process.kill()

    def get(self, path: str) -> Any:
        answer = self.ask(path)
        assert answer.status == 200, answer.body
        return answer.json()

    def send(self, method: str, path: str, value: Any = None) -> tuple[int, Any]:
        """(status, JSON body)."""
        answer = self.ask(path, method, value, {"Content-Type": "application/json"})
        return answer.status, answer.json()
