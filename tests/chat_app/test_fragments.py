"""What a viewer is sent, frame by frame."""

import re

import pytest

from chat_app.fragments import Frames, difference, key_of
from chat_app.models import Conversation
from chat_app.replies import Reply, cache_note
from mlxgui.engine.types import CacheUse
from tests.factories import make_conversation, make_message

pytestmark = pytest.mark.django_db


def following(conversation: Conversation) -> tuple[Frames, Reply]:
    reply = Reply(conversation.pk)
    reply.phase = "writing"
    reply.message = conversation.begin_reply(conversation.leaf)
    return Frames(conversation.path()[-1], reply), reply


def swaps(html: str) -> list[str]:
    """The ids that a frame replaces or appends to, in order."""
    pattern = r'hx-swap-oob="beforeend:#([\w-]+)"|id="([\w-]+)" hx-swap-oob'
    return [first or second for first, second in re.findall(pattern, html)]


def test_only_the_open_block_is_sent_again() -> None:
    frames, reply = following(make_conversation("Hello"))
    message = f"m{reply.message.pk}"
    reply.text = "# Title\n\nfirst line\n"
    assert swaps(frames.first()) == [message]
    reply.text += "and more"
    html = frames.next()
    assert swaps(html) == [f"{message}-b1"]
    assert "Title" not in html
    reply.text += "\n\nsecond\n\nthird"
    html = frames.next()
    assert swaps(html) == [f"{message}-b1", f"{message}-body"]
    assert f'id="{message}-b2"' in html
    assert frames.next() == ""


def test_thinking_is_appended_and_never_sent_twice() -> None:
    frames, reply = following(make_conversation("Hello"))
    message = f"m{reply.message.pk}"
    assert "hidden" in frames.first()
    reply.thinking = "Let me <see>"
    html = frames.next()
    assert swaps(html) == [f"{message}-thinking"]
    assert "Let me &lt;see&gt;" in html
    reply.thinking += " …  now"
    html = frames.next()
    assert swaps(html) == [f"{message}-thought"]
    assert "Let me" not in html
    assert "> …  now</span>" in html


def test_the_end_brings_the_figures_and_a_spoken_summary() -> None:
    frames, reply = following(make_conversation("Hello"))
    frames.first()
    reply.text = "All **done**."
    reply.message.content = reply.text
    reply.message.tokens_per_second = 1234.5
    reply.message.finish("stop")
    html = frames.last()
    assert "All <strong>done</strong>." in html
    assert "1,234 tokens/s" in html or "1,235 tokens/s" in html
    assert 'id="announcer" hx-swap-oob="innerHTML">All **done**.' in html


def test_a_page_that_shows_the_same_needs_nothing() -> None:
    entries = make_conversation("Hello", "Hi").path()
    assert difference([key_of(entry) for entry in entries], entries) == ""


def test_a_page_behind_gets_what_is_new_and_loses_what_is_gone() -> None:
    conversation = make_conversation("Hello", "Hi", "More", "Yes")
    old = [key_of(entry) for entry in conversation.path()]
    hello, hi, more, yes = (key[0] for key in old)
    make_message(conversation, "Sure", role="assistant", parent_id=more)
    html = difference(old, conversation.path())
    assert swaps(html) == [f"m{yes}", "thread"]
    assert f'id="m{yes}" hx-swap-oob="delete"' in html


def test_a_message_whose_state_changed_is_replaced() -> None:
    conversation = make_conversation("Hello")
    reply = conversation.begin_reply(conversation.leaf)
    old = [key_of(entry) for entry in conversation.path()]
    reply.fail("worker_died", "It died.")
    entries = conversation.path()
    assert swaps(difference(old, entries)) == [f"m{reply.pk}"]
    assert difference(old, entries, skip=reply.pk) == ""


def test_how_far_the_prompt_was_reused_and_why_stands_under_the_reply() -> None:
    frames, reply = following(make_conversation("Hello"))
    frames.first()
    use = CacheUse(7, "memory", "volatile_header", "A few words change.", 7, "N<w>", "Y")
    reply.message.prompt_tokens, reply.message.cached_tokens = 40, use.cached_tokens
    reply.message.cache_note = cache_note(use)
    reply.message.content = "Hello."
    reply.message.finish("stop")
    html = frames.last()
    assert "7 of 40 tokens were reused. A few words change." in html
    assert "It parts at token 7: “N&lt;w&gt;” where “Y” was before." in html
