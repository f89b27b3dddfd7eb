"""Chromium against a real server process with a data folder of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.live import LiveServer
from tests.server import ROOT

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
expect.set_options(timeout=15_000)
# Software rendering of a graphics card costs more than rendering without one.
FLAGS = ["--no-sandbox", "--disable-gpu"]
LOUD = ("error", "warning")
FAKES = ("echo", "slow", "crash", "sleepy")
ADD_FAKES = f"""
from tests.factories import make_model
for name in {FAKES!r}:
    make_model(name)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and not Path(CHROMIUM).exists():
            item.add_marker(pytest.mark.skip(reason=f"no Chromium at {CHROMIUM}"))


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    home = tmp_path_factory.mktemp("browser-home")
    with LiveServer(home) as live:
        add_fakes(home)
        yield live


def add_fakes(home: Path) -> None:
    """List the fake models. Only once the server runs: its scan at start removes such rows."""
    changes = {"MLX_GUI_HOME": str(home), "DJANGO_SETTINGS_MODULE": "mlxgui.settings"}
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", ADD_FAKES]
    subprocess.run(command, cwd=ROOT, env=os.environ | changes, check=True)


@pytest.fixture
def live_server_url(server: LiveServer) -> str:
    return server.url


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()


@pytest.fixture
def context(browser: Browser, live_server_url: str) -> Iterator[BrowserContext]:
    """Fails the test when the page complains: an error in a script, a refused style."""
    complaints: list[str] = []
    made = browser.new_context(
        base_url=live_server_url, viewport={"width": 1440, "height": 900}, locale="en-US"
    )
    made.set_default_timeout(10_000)
    made.on("console", lambda said: said.type in LOUD and complaints.append(said.text))
    made.on("weberror", lambda error: complaints.append(str(error.error)))
    yield made
    made.close()
    assert not complaints


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
