"""/connect/ in a real browser: copying, trying a call on a real model, stopping it, with a key."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live import LiveServer

pytestmark = pytest.mark.browser

LONG = {
    "model": "starter",
    "messages": [{"role": "user", "content": "Who are you?"}],
    "max_tokens": 1500,
    "ignore_eos": True,
    "stream": True,
}
KEY = "sesame-street"


def send(page: Page, call: str = "/v1/chat/completions") -> None:
    page.get_by_label("Call").select_option(call)
    page.get_by_role("button", name="Send").click()


def choose_starter(page: Page) -> None:
    page.goto("/connect/?model=starter")
    expect(page.get_by_label("Model", exact=True)).to_have_value("starter")


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for address in ("/connect/", "/connect/api/"):
        page.goto(address)
        for summary in page.locator("summary").all()[:6]:
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_guide_opens_by_keyboard_and_is_copied(page: Page, live_server_url: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=live_server_url)
    choose_starter(page)
    page.locator("#codex summary").focus()
    page.keyboard.press("Enter")
    block = page.locator("#codex .code").first
    expect(block).to_contain_text('model = "starter"')
    expect(page.locator("#curl .prose")).to_be_hidden()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(block.get_by_role("button")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert f'base_url = "{live_server_url}/v1"' in copied


def test_another_model_fills_everything_anew(page: Page) -> None:
    page.goto("/connect/?model=echo")
    page.get_by_label("Model", exact=True).select_option("slow")
    page.wait_for_url("**/connect/?model=slow")
    expect(page.locator("#curl")).to_contain_text('"model": "slow"')
    assert json.loads(page.get_by_label("Body").input_value())["model"] == "slow"


@pytest.mark.model
@pytest.mark.parametrize(
    ("call", "end"),
    [
        ("/v1/chat/completions", "data: [DONE]"),
        ("/v1/responses", "response.completed"),
        ("/v1/messages", "message_stop"),
        ("/api/chat", '"done":true'),
        ("/v1/completions", '"total_tokens"'),
    ],
)
def test_every_example_runs_on_a_real_model(page: Page, call: str, end: str) -> None:
    choose_starter(page)
    send(page, call)
    expect(page.locator("[data-try-time]")).to_contain_text("whole after")
    expect(page.locator("[data-try-status]")).to_have_text("200 OK")
    expect(page.locator("[data-try-request]")).to_contain_text(f"POST {call} HTTP/1.1")
    expect(page.locator("[data-try-headers]")).to_contain_text("content-type:")
    expect(page.locator("[data-try-answer]")).to_contain_text(end)
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


@pytest.mark.model
def test_a_call_is_stopped_while_it_streams(page: Page, server: LiveServer) -> None:
    choose_starter(page)
    page.get_by_label("Body").fill(json.dumps(LONG))
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-try-answer]")).to_contain_text("chat.completion.chunk")
    stop = page.get_by_role("button", name="Stop")
    stop.focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-try-status]")).to_have_text("stopped")
    expect(stop).to_be_disabled()
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    expect(page.locator("[data-try-answer]")).not_to_contain_text("[DONE]")
    send(page)  # and another runs at once
    expect(page.locator("[data-try-answer]")).to_contain_text("[DONE]")


def test_what_the_server_refuses_is_shown_as_it_came(browser: Browser, server: LiveServer) -> None:
    page = browser.new_page(base_url=server.url)  # a refusal is said on the console as well
    choose_starter(page)
    page.get_by_label("Body").fill('{"model": ')
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-try-status]")).to_have_text("400 Bad Request")
    expect(page.locator("[data-try-answer]")).to_contain_text("not valid JSON")
    page.close()


@pytest.mark.model
def test_with_a_key_the_pages_session_makes_the_call(browser: Browser, tmp_path: Path) -> None:
    with LiveServer(tmp_path / "home", MLX_GUI_API_KEY=KEY) as live:
        page = browser.new_page(base_url=live.url)
        page.goto("/connect/")
        page.get_by_label("Key").fill(KEY)
        page.keyboard.press("Enter")
        page.wait_for_url("**/connect/")
        expect(page.locator(".connect-facts")).to_contain_text("YOUR_KEY")
        send(page)
        expect(page.locator("[data-try-status]")).to_have_text("200 OK")
        expect(page.locator("[data-try-answer]")).to_contain_text("[DONE]")
        expect(page.locator("[data-try-request]")).to_contain_text("Cookie: mlx-gui-key=…")
        assert KEY not in page.content()
        page.context.clear_cookies()
        send(page)
        expect(page.locator("[data-try-status]")).to_have_text("401 Unauthorized")
        page.get_by_role("link", name="Enter the key again").click()
        expect(page.get_by_label("Key")).to_be_visible()
        page.close()


def test_the_reference_is_searched_while_one_types(page: Page) -> None:
    page.goto("/connect/api/")
    page.get_by_label("Search").fill("rerank")
    expect(page.locator("#operations summary")).to_have_count(1)
    page.locator("summary").click()
    expect(page.locator(".inside")).to_contain_text("documents")
    page.wait_for_url("**/connect/api/?q=rerank")
