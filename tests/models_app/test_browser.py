"""One model's way through the pages in a real browser: find, install, load, ask, unload, delete."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.conftest import STARTER
from tests.hub import Hub
from tests.live import LiveServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.model,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"no Chromium at {CHROMIUM}"),
]

NAME = "mlx-community/Guide-4bit"
SECONDS = 20_000


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as made:
        files = {file.name: file.read_bytes() for file in STARTER.iterdir() if file.is_file()}
        made.add(NAME, {**files, "README.md": b"# Guide\n\nIt **answers**."})
        made.add("mlx-community/Other", files)
        made.knobs.hold["model.safetensors"] = 2 << 20
        yield made


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        made = browser.new_page()
        made.set_default_timeout(SECONDS)
        complaints: list[str] = []
        made.on("pageerror", lambda error: complaints.append(str(error)))
        made.on("console", lambda message: complaints.append(message.text))
        yield made
        browser.close()
    assert [one for one in complaints if "Content Security" in one or "Error" in one] == []


def test_a_model_is_found_installed_loaded_asked_unloaded_and_deleted(
    hub: Hub, page: Page, tmp_path: Path
) -> None:
    expect.set_options(timeout=SECONDS)
    cache = str(tmp_path / "cache")
    with LiveServer(tmp_path / "home", HF_ENDPOINT=hub.url, HF_HUB_CACHE=cache) as live:
        page.goto(f"{live.url}/discover/")
        page.fill("#query", "guide")
        expect(page.locator(".found")).to_have_count(1)
        expect(page).to_have_url(re.compile("query=guide"))
        page.click("text=Guide-4bit")
        expect(page.locator(".model-card strong")).to_have_text("answers")

        page.click("button:has-text('Install')")
        expect(page.locator(".install .badge")).to_contain_text("downloading")
        expect(page.locator("#downloads progress")).to_be_visible()
        page.click("button:has-text('Pause')")
        expect(page.locator("#downloads .badge")).to_have_text("paused")
        hub.go.set()
        page.click("button:has-text('Resume')")
        expect(page.locator(".install .badge")).to_have_text("in the library")
        expect(page.locator("#downloads .download")).to_have_count(0)

        page.goto(f"{live.url}/library/")
        row = page.locator(".model", has_text=NAME)
        row.locator("button:has-text('Load')").click()
        expect(row.locator(".badge.ok")).to_have_text("loaded")
        page.goto(f"{live.url}/chat/new/")
        page.select_option("#model", NAME.partition("/")[2])
        page.fill("#text", "How do I start?")
        page.press("#text", "Enter")
        expect(page.locator(".message.assistant .prose").last).to_contain_text(re.compile(r"\w"))
        page.goto(f"{live.url}/library/")
        row.locator("button:has-text('Unload')").click()
        expect(row.locator(".model-state .badge")).to_have_text("not loaded")

        row.locator("a:has-text('Delete')").click()
        page.click("#delete")
        expect(page.locator(".notice")).to_contain_text("was deleted")
        expect(page.locator(".model", has_text=NAME)).to_have_count(0)
    assert not any((tmp_path / "cache").glob("models--*"))
