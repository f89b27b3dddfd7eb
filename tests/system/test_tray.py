"""The menu bar: what it says and does against a real server; its process with a stand-in for the
library that draws menus."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.system import tray
from mlxgui.system.menu import AWAY, Menu
from mlxgui.system.tray import Tray
from tests.server import ROOT, ServerProcess, outside

pytestmark = pytest.mark.server

RUMPS = """
import sys

class MenuItem:
    def __init__(self, title, callback=None):
        self.title, self.callback = title, callback

class Entries(list):
    def update(self, items):
        self.extend(items)

class App:
    def __init__(self, name, title, quit_button):
        self.name, self.title, self.menu = name, title, Entries()
    def run(self):
        for item in self.menu:
            print(item.title if item else "-", flush=True)
        import time
        time.sleep(60)

class Timer:
    def __init__(self, callback, seconds):
        assert seconds == 5
    def start(self):
        pass
"""
ASK = {"model": "starter", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "home", MLX_GUI_API_KEY="sesame") as running:
        running.wait_ready()
        yield running


@pytest.mark.model
def test_the_menu_tells_unloads_and_quits(server: ServerProcess) -> None:
    menu = Menu(server.url + "/", "sesame")
    assert menu.page == f"{server.url}/chat/"
    assert menu.look().lines == ["No model is loaded"]
    right = {"Authorization": "Bearer sesame"}
    assert server.ask("/v1/chat/completions", "POST", ASK, right).status == 200
    (line,) = menu.look().lines
    assert line.startswith("starter · 0.")
    assert menu.look().title == ""
    assert menu.unload_all() == 1
    assert menu.look().lines == ["No model is loaded"]
    menu.quit()
    assert server.wait_exit() == (0, "")
    assert menu.look().lines == [AWAY]
    assert menu.look().is_away


def test_a_menu_without_the_key_is_away(server: ServerProcess) -> None:
    assert Menu(server.url, "wrong").look().is_away


@pytest.fixture
def rumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "rumps.py").write_text(RUMPS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "library"))
    return tmp_path / "library"


def test_the_icon_leaves_when_its_server_does(rumps: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mlxgui.system.menu_bar", "http://127.0.0.1:9"],
        cwd=ROOT,
        env=outside(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        shown = [child.stdout.readline().strip() for _ in range(5)]
        assert shown == [AWAY, "-", "Open MLX GUI", "Unload all models", "Quit MLX GUI"]
        child.stdin.close()
        assert child.wait(10) == 0


async def test_the_setting_shows_the_icon_and_takes_it_away(rumps: Path) -> None:
    made = Tray(ROOT)
    for wanted in (True, True, False, False, True):
        await made.follow(wanted, "http://127.0.0.1:9")
        assert made.is_shown == wanted
    await made.hide()


def test_where_there_can_be_no_icon_the_reason_is_said(monkeypatch: Any) -> None:
    assert "macOS" in tray.why_not("linux")
    assert "requirements-tray.txt" in tray.why_not("darwin")
