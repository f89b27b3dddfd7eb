"""The Library and a model's settings as a person uses them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.live import LiveServer

pytestmark = pytest.mark.browser


def row(page: Page, name: str) -> Locator:
    heading = page.get_by_role("heading", name=name, exact=True)
    return page.locator(".model").filter(has=heading)


def load(page: Page, name: str) -> None:
    row(page, name).get_by_role("button", name=f"Load {name}").click()


@pytest.fixture
def empty(server: LiveServer) -> Iterator[LiveServer]:
    """Nothing in memory, before and after."""

    def unload() -> None:
        server.send("POST", "/api/engine/models/unload", {})

    unload()
    yield server
    unload()


def test_the_plan_is_shown_where_another_model_must_leave(page: Page, empty: LiveServer) -> None:
    page.goto("/library/")
    for name in ("echo", "slow", "crash"):
        load(page, name)
        expect(row(page, name).locator(".badge.ok")).to_have_text("loaded")
    load(page, "sleepy")
    dialog = page.get_by_role("dialog", name="Load sleepy?")
    expect(dialog).to_contain_text("It fits once “echo” is unloaded.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(row(page, "sleepy").locator(".badge")).to_have_text("not loaded")

    load(page, "sleepy")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(page).to_have_url(f"{empty.url}/library/")

    load(page, "sleepy")
    dialog.get_by_role("button", name="Load").click()
    expect(dialog).to_be_hidden()
    expect(row(page, "sleepy").locator(".badge.busy")).to_have_text("loading")
    expect(row(page, "sleepy").locator(".badge.ok")).to_have_text("loaded")
    expect(row(page, "echo").locator(".badge")).to_have_text("not loaded")


def test_settings_are_kept_and_a_profile_is_asked(page: Page, empty: LiveServer) -> None:
    page.goto("/library/")
    row(page, "echo").get_by_role("link", name="Settings of echo").click()
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_label("Temperature")).to_have_value("0.5")

    page.get_by_role("link", name="New profile").click()
    page.get_by_label("Name").fill("two words")
    page.get_by_label("Longest answer").fill("2")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Ask for it as echo:two words.")).to_be_visible()

    page.goto("/chat/new/")
    page.locator("#model").select_option("echo:two words")
    page.locator("#text").fill("one two three four")
    page.locator("#text").press("Enter")
    expect(page.locator(".message.assistant .figures")).to_be_attached()
    expect(page.locator(".message.assistant .prose")).to_have_text("one two")

    page.goto("/library/")
    row(page, "echo").get_by_role("link", name="Settings of echo").click()
    page.get_by_role("button", name="Delete two words").click()
    expect(page.get_by_text("The profile two words was deleted.")).to_be_visible()
    page.get_by_label("Temperature").fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
