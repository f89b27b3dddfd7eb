"""The chat page as a person uses it."""

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import add_fakes
from tests.live import LiveServer

pytestmark = pytest.mark.browser

LONG = " ".join(f"word{number}" for number in range(200))
# Every length that the reply had on its way.
WATCH = """
window.lengths = new Set();
new MutationObserver(() => {
  const prose = document.querySelector(".message.assistant .prose");
  if (prose) window.lengths.add(prose.innerText.length);
}).observe(document.querySelector("#thread"), { childList: true, subtree: true });
"""


def send(page: Page, text: str, model: str = "echo") -> None:
    """Write and send as a person does: choose, type, Enter."""
    page.locator("#model").select_option(model)
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")


def new_chat(page: Page) -> None:
    page.goto("/chat/new/")
    expect(page.locator("#composer-action button")).to_be_visible()


def reply(page: Page) -> Locator:
    return page.locator(".message.assistant").last


def finished(page: Page) -> None:
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    expect(reply(page).locator(".figures")).to_be_attached()


def test_first_run_send_and_read_the_reply(page: Page) -> None:
    page.goto("/")
    expect(page).to_have_url(re.compile("/chat/"))
    new_chat(page)
    expect(page.get_by_role("heading", name="What can I help you with?")).to_be_visible()
    send(page, "Hello there, **friend**")
    finished(page)
    expect(page.locator(".bubble")).to_have_text("Hello there, **friend**")
    expect(reply(page).locator(".prose strong")).to_have_text("friend")
    expect(reply(page).locator(".figures")).to_contain_text("to first token")
    expect(page.locator("#text")).to_have_value("")
    expect(page).to_have_title("Hello there, **friend** · MLX GUI")
    expect(page.locator(".conversations [aria-current]")).to_have_text("Hello there, **friend**")


def test_words_arrive_one_after_the_other_and_stop_ends_them(page: Page) -> None:
    new_chat(page)
    page.evaluate(WATCH)
    send(page, LONG, "slow")
    expect(reply(page)).to_contain_text("word12")
    lengths = page.evaluate("[...window.lengths]")
    assert len(lengths) > 5
    assert lengths == sorted(lengths)
    page.keyboard.press("Escape")
    finished(page)
    expect(reply(page)).to_contain_text("Stopped.")
    expect(reply(page)).not_to_contain_text("word199")


def test_a_reload_in_the_middle_shows_the_rest(page: Page) -> None:
    new_chat(page)
    words = " ".join(f"word{number}" for number in range(60))
    send(page, words, "slow")
    expect(reply(page)).to_contain_text("word5")
    page.reload()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect(reply(page)).to_contain_text("word59")
    finished(page)
    assert reply(page).locator(".prose").inner_text().split() == words.split()


def test_a_second_tab_follows_the_same_reply(page: Page) -> None:
    new_chat(page)
    send(page, "first " + LONG, "slow")
    expect(reply(page)).to_contain_text("word2")
    other = page.context.new_page()
    other.goto(page.url)
    expect(reply(other)).to_contain_text("word8")
    other.get_by_role("button", name="Stop", exact=True).click()
    finished(page)
    assert reply(page).inner_text() == reply(other).inner_text()


def test_edit_and_resend_then_go_back_to_the_first_wording(page: Page) -> None:
    new_chat(page)
    send(page, "first wording")
    finished(page)
    page.locator(".message.user").hover()
    page.get_by_role("link", name="Edit message").click()
    box = page.get_by_role("textbox", name="Your message")
    expect(box).to_have_value("first wording")
    box.fill("second wording")
    box.press("Enter")
    expect(reply(page).locator(".prose")).to_have_text("second wording")
    finished(page)
    expect(page.locator(".message.user")).to_contain_text("2/2")
    page.get_by_role("button", name="Previous version").click()
    expect(reply(page).locator(".prose")).to_have_text("first wording")
    expect(page.locator(".message.user .bubble")).to_have_text("first wording")


def test_cancelling_an_edit_changes_nothing(page: Page) -> None:
    new_chat(page)
    send(page, "as it was")
    finished(page)
    page.locator(".message.user").hover()
    page.get_by_role("link", name="Edit message").click()
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator(".bubble")).to_have_text("as it was")


def test_regenerate_with_another_model_keeps_both_replies(page: Page) -> None:
    new_chat(page)
    send(page, "again please")
    finished(page)
    page.locator("#model").select_option("slow")
    page.get_by_role("button", name="Regenerate reply").click()
    expect(reply(page)).to_contain_text("2/2")
    expect(reply(page).locator(".figures")).to_contain_text("slow")
    page.get_by_role("button", name="Previous version").click()
    expect(reply(page).locator(".figures")).to_contain_text("echo")


def test_settings_are_kept_and_obeyed(page: Page) -> None:
    new_chat(page)
    send(page, "one two three four")
    finished(page)
    page.get_by_role("button", name="Chat settings").click()
    page.get_by_label("Longest reply").fill("2")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    send(page, "five six seven eight")
    expect(reply(page).locator(".prose")).to_have_text("five six")
    page.reload()
    page.get_by_role("button", name="Chat settings").click()
    expect(page.get_by_label("Longest reply")).to_have_value("2")


def test_a_model_that_is_loading_is_said_to_be(page: Page) -> None:
    new_chat(page)
    send(page, "wake up", "sleepy")
    expect(reply(page).locator(".activity")).to_contain_text("Loading model")
    finished(page)
    expect(reply(page).locator(".prose")).to_have_text("wake up")


def test_a_killed_worker_shows_an_error_and_the_page_goes_on(
    page: Page, server: LiveServer
) -> None:
    new_chat(page)
    before = {worker.pid for worker in server.workers()}
    send(page, "one two three four five", "crash")
    expect(reply(page).get_by_role("alert")).to_contain_text("ended unexpectedly")
    page.locator("#model").select_option("slow")
    send(page, LONG, "slow")
    expect(reply(page)).to_contain_text("word2")
    for worker in server.workers():
        if worker.pid not in before or worker.is_running():
            os.kill(worker.pid, signal.SIGKILL)
    expect(reply(page).get_by_role("alert")).to_contain_text("ended unexpectedly")
    page.locator("#model").select_option("echo")
    reply(page).get_by_role("button", name="Retry").click()
    expect(reply(page)).to_contain_text("word199")
    finished(page)


def test_rename_and_delete(page: Page) -> None:
    new_chat(page)
    send(page, "to be renamed")
    finished(page)
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Title").fill("A better name")
    page.keyboard.press("Enter")
    expect(page.locator("#chat-title")).to_have_text("A better name")
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="Delete").click()
    page.locator("#delete").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("A better name")).to_have_count(0)


def test_the_list_is_searched_while_typing(page: Page) -> None:
    for text in ("about whales", "about stones"):
        new_chat(page)
        send(page, text)
        finished(page)
    page.get_by_role("searchbox", name="Search chats").fill("whales")
    expect(page.locator(".conversations a")).to_have_text(["about whales"])


def test_the_keyboard_reaches_everything(page: Page) -> None:
    new_chat(page)
    expect(page.locator("#text")).to_be_focused()
    page.locator("#text").press_sequentially("one")
    page.keyboard.press("Shift+Enter")
    page.locator("#text").press_sequentially("two")
    expect(page.locator("#text")).to_have_value("one\ntwo")
    page.locator("#text").fill("")
    page.locator("#text").blur()
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#text")).to_have_value("")
    page.locator("#text").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    address = page.url
    page.keyboard.press("Control+k")
    expect(page).not_to_have_url(address)


def test_code_is_copied_as_it_was_written(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    new_chat(page)
    send(page, "`a` & <b>")
    finished(page)
    page.get_by_role("button", name="Copy reply").click()
    expect(page.locator("#announcer")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "`a` & <b>"


def test_a_reader_who_scrolled_up_is_left_alone(page: Page) -> None:
    new_chat(page)
    send(page, "\n".join(["line"] * 120))
    finished(page)
    send(page, LONG, "slow")
    expect(reply(page)).to_contain_text("word2")
    page.mouse.move(700, 400)
    page.mouse.wheel(0, -1500)
    expect(page.locator("#jump")).to_be_visible()
    expect(reply(page)).to_contain_text("word20")
    from_end = "document.documentElement.scrollHeight - innerHeight - scrollY"
    assert page.evaluate(from_end) > 1400
    page.locator("#jump").click()
    expect(page.locator("#jump")).to_be_hidden()
    page.keyboard.press("Escape")
    finished(page)


def test_dark_mode_stays_across_pages_without_a_flash(page: Page) -> None:
    new_chat(page)
    page.get_by_role("button", name="Dark").click()
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(26, 26, 25)"
    response = page.goto("/training/")
    assert response is not None
    assert 'data-theme="dark"' in response.text()
    assert page.evaluate(background) == "rgb(26, 26, 25)"
    page.get_by_role("button", name="As the system").click()
    assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_a_phone_shows_everything_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    new_chat(page)
    send(page, "a " + "very" * 80 + " long word, and `" + "code" * 60 + "`")
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Library").click()
    page.wait_for_url("**/library/**")  # with its styles
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_touch_targets_are_large_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    new_chat(page)
    send(page, "hello")
    finished(page)
    small = page.evaluate(
        """[...document.querySelectorAll("button, a, select, summary")]
        .filter((one) => one.checkVisibility() && !one.closest("p, .prose, .skip-link"))
        .filter((one) => !one.matches(".skip-link") && one.getBoundingClientRect().height < 44)
        .map((one) => one.outerHTML)"""
    )
    assert small == []


def test_a_page_outlives_its_server(browser: Browser, tmp_path: Path) -> None:
    with LiveServer(tmp_path) as first:
        add_fakes(tmp_path)
        port = first.url.rsplit(":", 1)[1]
        context = browser.new_context(base_url=first.url)
        page = context.new_page()
        new_chat(page)
        send(page, LONG, "slow")
        expect(reply(page)).to_contain_text("word2")
        first.process.kill()
        expect(page.locator(".chat-page")).to_have_class(re.compile("offline"))
    with LiveServer(tmp_path, MLX_GUI_PORT=port):
        expect(page.locator(".chat-page")).not_to_have_class(re.compile("offline"))
        expect(reply(page).get_by_role("alert")).to_contain_text("The server stopped before")
        expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    context.close()


def test_it_works_without_javascript(browser: Browser, live_server_url: str) -> None:
    context = browser.new_context(base_url=live_server_url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/chat/new/")
    page.locator("#model").select_option("slow")
    page.locator("#text").fill("without any script")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".message.assistant .prose")).to_have_text("without any script")
    page.get_by_role("button", name="Regenerate reply").click()
    expect(page.locator(".message.assistant")).to_contain_text("2/2")
    context.close()
