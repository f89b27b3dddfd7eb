"""The clients for Node, where node is installed and npm has them: see node/package.json.

They are installed once into a folder of the user's cache, out of npm's own cache, without asking
the network. `npm install` in a copy of that folder fills the cache.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.contract.test_clients import PNG
from tests.live import LiveServer

pytestmark = pytest.mark.model

PROGRAMS = Path(__file__).parent / "node"
INSTALL = "npm install --offline --no-audit --no-fund --ignore-scripts --loglevel=error"
SECONDS = 90


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder with the programs and what they import. Skips where that cannot be had."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    folder = Path.home() / ".cache" / "mlx-gui-tests" / "node"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = PROGRAMS / "package.json"
    mark = folder / "installed.json"
    if not mark.exists() or mark.read_bytes() != wanted.read_bytes():
        shutil.copy(wanted, folder)
        done = subprocess.run(
            INSTALL.split(), cwd=folder, capture_output=True, text=True, timeout=SECONDS
        )
        if done.returncode:
            pytest.skip(f"npm has not got the clients: run `npm install` in {folder} once")
        shutil.copy(wanted, mark)
    for program in PROGRAMS.glob("*.mjs"):
        shutil.copy(program, folder)
    return folder


def run(folder: Path, program: str, server: LiveServer) -> dict[str, Any]:
    done = subprocess.run(
        ["node", program, server.url, PNG],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_official_client_for_node(programs: Path, served: LiveServer) -> None:
    found = run(programs, "openai_client.mjs", served)
    assert "make run" in found["plain"]
    assert found["streamed"] == found["plain"] == found["response"]
    assert found["call"]["name"] == "get_weather"
    for text in (found["call"]["arguments"], found["json"]):
        assert json.loads(text)["city"] in ("Rome", "Paris")
    assert found["vectors"] == 2 and found["seen"] > 10
    assert found["error"] == {"kind": "NotFoundError", "status": 404, "param": "model"}


def test_the_vercel_ai_sdk(programs: Path, served: LiveServer) -> None:
    found = run(programs, "ai_sdk.mjs", served)
    assert "make run" in found["plain"] and found["streamed"] == found["plain"]
    assert found["tokens"] > 3
    shape = {"required": ["name", "age"], "properties": {"age": {"type": "integer"}}}
    jsonschema.validate(found["object"], shape)
    assert found["call"]["name"] == "weather" and found["call"]["input"]["city"]
    assert found["vectors"] == 2 and found["seen"] > 10
    assert found["error"] == {"status": 404, "message": "Model 'nobody' not found"}
