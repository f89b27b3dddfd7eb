"""The socket: what a page is sent, and when."""

import json
import re
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from chat_app import replies
from chat_app.models import Conversation, Message
from chat_app.routing import websocket_urlpatterns
from mlxgui.runtime import Runtime
from tests.factories import make_conversation, make_model

pytestmark = pytest.mark.django_db(transaction=True)

LONG = "word " * 400


class Page:
    """A browser's page, as far as the socket is concerned."""

    def __init__(self, conversation: Conversation, revision: int | None = None) -> None:
        seen = conversation.revision if revision is None else revision
        address = f"/ws/chat/{conversation.pk}/?revision={seen}"
        self.socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), address)
        self.received = ""

    async def open(self) -> "Page":
        connected, _ = await self.socket.connect()
        assert connected
        return self

    async def do(self, **fields: str) -> None:
        await self.socket.send_to(text_data=json.dumps(fields))

    async def until(self, text: str) -> str:
        """Receive until `text` has come; returns all that came since the last call."""
        while text not in self.received:
            self.received += await self.socket.receive_from(timeout=10)
        seen, self.received = self.received, ""
        return seen

    async def close(self) -> None:
        await self.socket.disconnect()


async def new_page(model: str = "echo") -> Page:
    await sync_to_async(make_model)(model)
    return await Page(Conversation(pk=uuid4())).open()


async def test_the_first_message_creates_the_chat_and_streams_a_reply(runtime: Runtime) -> None:
    page = await new_page()
    await page.do(action="send", text="one **two** three", model="echo")
    html = await page.until("to first token")
    assert 'hx-swap-oob="beforeend:#thread"' in html
    assert '<div class="bubble">one **two** three</div>' in html
    assert "one <strong>two</strong> three" in html
    assert "3 in, 3 out" in html
    conversation = await Conversation.objects.aget()
    assert (conversation.title, conversation.model_name) == ("one **two** three", "echo")
    assert 'id="chat-title" hx-swap-oob="true">one **two** three' in html
    await page.close()


async def test_the_send_button_is_a_stop_button_while_a_reply_is_written(runtime: Runtime) -> None:
    page = await new_page("slow")
    await page.until('aria-label="Send"')
    await page.do(text=LONG, model="slow")
    await page.until('id="stop"')
    await page.until("word word")
    await page.do(action="stop")
    await page.until("Stopped.")
    assert (await Message.objects.aget(role="assistant")).status == "stopped"
    await page.do(text="again")
    await page.until('aria-label="Send"')
    await page.close()


async def test_a_page_opened_in_the_middle_catches_up(runtime: Runtime) -> None:
    page = await new_page("slow")
    await page.do(text="first second third fourth fifth sixth", model="slow")
    await page.until("second")
    conversation = await Conversation.objects.aget()
    late = await Page(conversation).open()
    html = await late.until("to first token")
    assert '<article class="message assistant"' in html
    assert html.count("<article") == 1
    assert "first second third fourth fifth sixth" in html
    await late.close()
    await page.close()


async def test_the_reply_goes_on_when_its_page_is_closed(runtime: Runtime) -> None:
    page = await new_page("slow")
    await page.do(text="one two three four", model="slow")
    await page.until("one")
    await page.close()
    conversation = await Conversation.objects.aget()
    reply = replies.live(conversation.pk)
    assert reply is not None
    await reply.ended()
    row = await Message.objects.aget(role="assistant")
    assert (row.status, row.content) == ("complete", "one two three four")


async def test_other_tabs_see_what_is_sent_here(runtime: Runtime) -> None:
    await sync_to_async(make_model)("echo")
    conversation = await sync_to_async(make_conversation)("Hello", "Hi")
    here, there = await Page(conversation).open(), await Page(conversation).open()
    await here.do(text="alpha beta")
    html = await there.until("2 out")
    assert '<div class="bubble">alpha beta</div>' in html
    await here.close()
    await there.close()


async def test_a_page_that_is_up_to_date_is_sent_no_message_again(runtime: Runtime) -> None:
    conversation = await sync_to_async(make_conversation)("Hello", "Hi")
    page = await Page(conversation).open()
    html = await page.until('aria-label="Send"')
    assert "<article" not in html
    await page.close()


async def test_a_page_that_comes_back_is_sent_what_it_missed(runtime: Runtime) -> None:
    conversation = await sync_to_async(make_conversation)("Hello", "Hi")
    page = await Page(conversation, revision=conversation.revision - 1).open()
    html = await page.until('aria-label="Send"')
    assert 'id="thread" hx-swap-oob="true"' in html
    assert html.count("<article") == 2
    await page.close()


async def test_regenerating_replaces_the_reply_and_offers_both(runtime: Runtime) -> None:
    page = await new_page()
    await page.do(text="alpha", model="echo")
    await page.until("1 out")
    first = await Message.objects.aget(role="assistant")
    await page.do(action=f"regenerate {first.pk}")
    html = await page.until("1 out")
    assert f'<article id="m{first.pk}" hx-swap-oob="delete">' in html
    assert "2/2" in html
    await page.do(action=f"switch {first.pk}")
    assert "1/2" in await page.until(f'<article class="message assistant" id="m{first.pk}"')
    await page.close()


async def test_editing_replaces_the_question_and_what_follows(runtime: Runtime) -> None:
    await sync_to_async(make_model)("echo")
    conversation = await sync_to_async(make_conversation)("Hello", "Hi", "More", "Yes")
    ids = [pk async for pk in conversation.messages.values_list("pk", flat=True)]
    page = await Page(conversation).open()
    await page.do(action=f"edit {ids[0]}", text="alpha beta gamma")
    html = await page.until("3 out")
    assert re.findall(r'id="m(\d+)" hx-swap-oob="delete"', html) == [str(pk) for pk in ids]
    assert '<div class="bubble">alpha beta gamma</div>' in html
    await page.close()


async def test_a_worker_that_dies_shows_an_error_and_a_retry(runtime: Runtime) -> None:
    page = await new_page("crash")
    await page.do(text="one two three four five", model="crash")
    html = await page.until("Retry")
    assert "ended unexpectedly" in html
    await page.do(action="configure", model="echo")
    failed = await Message.objects.aget(role="assistant")
    await sync_to_async(make_model)("echo")
    await page.do(action=f"regenerate {failed.pk}")
    assert "one two three four five" in await page.until("5 out")
    await page.close()


async def test_what_cannot_be_done_is_said_and_the_text_comes_back(runtime: Runtime) -> None:
    page = await new_page()
    await page.do(text="keep me", temperature="99", model="echo")
    html = await page.until('role="alert"')
    assert "Temperature" in html
    assert ">keep me</textarea>" in html
    assert not await Message.objects.aexists()
    await page.close()


async def test_settings_are_kept_for_the_chat(runtime: Runtime) -> None:
    conversation = await sync_to_async(make_conversation)("Hello", "Hi")
    page = await Page(conversation).open()
    await page.do(action="configure", model="slow", temperature="0.5", seed="", system_prompt="S")
    await page.do(action="switch 0")
    await page.until("no longer there")
    row = await Conversation.objects.aget()
    assert (row.model_name, row.sampling, row.system_prompt) == ("slow", {"temperature": 0.5}, "S")
    await page.close()


async def test_nonsense_does_not_close_the_socket(runtime: Runtime) -> None:
    page = await new_page()
    for nonsense in ("{", "[1]", "null", '{"text": 5}', '{"action": "regenerate x"}'):
        await page.socket.send_to(text_data=nonsense)
        await page.until('role="alert"')
    await page.close()


async def test_frames_are_few_however_fast_the_model(runtime: Runtime) -> None:
    page = await new_page()
    await page.do(text=" ".join(f"w{number}" for number in range(3000)), model="echo")
    frames = 0
    while "3000 out" not in (html := await page.socket.receive_from(timeout=10)):
        frames += "-b1" in html
    reply = await Message.objects.aget(role="assistant")
    assert reply.content.endswith("w2999")
    assert frames < 60
    await page.close()
