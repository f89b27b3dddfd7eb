"""The System page in a real browser: the picture, unloading, logs, and coming back by itself."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live import LiveServer

pytestmark = pytest.mark.browser

HELLO = {"model": "starter", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
PAINTED = """() => {
  const canvas = document.querySelector(".plot canvas");
  if (!canvas || !canvas.width) return false;
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.some((value) => value > 0);
}"""


def test_the_picture_is_painted_and_the_table_names_its_parts(page: Page) -> None:
    page.goto("/system/")
    expect(page.locator(".parts")).to_contain_text("This server", timeout=20_000)
    page.wait_for_function(PAINTED)
    expect(page.locator('.nav a[aria-current="page"]')).to_have_text("System")
    expect(page.locator(".disk")).to_contain_text("free on the disk")


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for address in ("/system/", "/system/restart/", "/library/disk/", "/library/disk/clean/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.model
@pytest.mark.parametrize("width", [390, 1440])
def test_a_model_can_be_unloaded_without_scrolling_sideways(
    page: Page, server: LiveServer, width: int
) -> None:
    assert server.ask("/v1/chat/completions", "POST", HELLO).status == 200
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/system/")
    expect(page.get_by_role("button", name="Unload starter")).to_be_visible()
    # Asked in one go, since the page renews this part now and then.
    box = page.evaluate("document.querySelector('#unload-1').getBoundingClientRect()")
    assert 0 <= box["left"] < box["right"] <= width
    wrap = page.locator(".models-now .table-wrap")
    assert wrap.evaluate("one => one.scrollWidth <= one.clientWidth")


@pytest.mark.model
def test_a_model_is_unloaded_and_the_server_restarts(browser: Browser, tmp_path: Path) -> None:
    with LiveServer(tmp_path / "home") as live:
        assert live.ask("/v1/chat/completions", "POST", HELLO).status == 200
        page = browser.new_page(base_url=live.url)
        page.goto("/system/")
        page.get_by_role("button", name="Unload starter").click()
        expect(page.locator(".models-now")).to_contain_text("None.")
        page.get_by_role("link", name="server.log").click()
        expect(page.get_by_role("log")).to_contain_text("is ready at")
        page.goto("/system/")
        page.get_by_role("link", name="Restart…").click()
        page.get_by_role("button", name="Restart now").click()
        expect(page.locator("h1")).to_have_text("Restarting")
        page.wait_for_url("**/system/", timeout=30_000)
        expect(page.locator("h1")).to_have_text("System")
        page.close()
