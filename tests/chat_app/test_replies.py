import asyncio
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from chat_app import replies
from chat_app.actions import act
from chat_app.models import Conversation, Message
from chat_app.replies import Refused, Reply
from mlxgui.runtime import Runtime
from tests.factories import make_conversation, make_model

pytestmark = pytest.mark.django_db(transaction=True)

LONG = "word " * 400


async def ask(model: str, text: str) -> Reply:
    await sync_to_async(make_model)(model)
    conversation = await sync_to_async(make_conversation)(model_name=model)
    reply = await act(conversation.pk, {"text": text})
    assert reply is not None
    return reply


async def stop(reply: Reply) -> None:
    """Stop it once it speaks, so that no load is cut off half way."""
    while not reply.text:
        await reply.changed_since(reply.version)
    await replies.stop(reply.conversation_id)


async def saved(reply: Reply) -> Message:
    return await Message.objects.aget(pk=reply.message.pk)


async def test_a_reply_is_written_without_anyone_looking(runtime: Runtime) -> None:
    reply = await ask("echo", "one two three")
    await reply.ended()
    row = await saved(reply)
    assert (row.status, row.content, row.finish_reason) == ("complete", "one two three", "stop")
    assert (row.prompt_tokens, row.completion_tokens) == (3, 3)
    assert row.first_token_seconds is not None
    assert replies.live(reply.conversation_id) is None


async def test_viewers_who_come_late_catch_up(runtime: Runtime) -> None:
    reply = await ask("slow", "one two three four five six")
    while not reply.text:
        await reply.changed_since(reply.version)
    late = replies.live(reply.conversation_id)
    assert late is reply
    seen, version = [late.text], late.version
    while not late.is_over:
        await late.changed_since(version)
        version = late.version
        seen.append(late.text)
    assert seen[-1] == "one two three four five six"
    assert all(after.startswith(before) for before, after in zip(seen, seen[1:], strict=False))


async def test_stopping_keeps_what_was_written(runtime: Runtime) -> None:
    reply = await ask("slow", LONG)
    while reply.text.count("word") < 3:
        await reply.changed_since(reply.version)
    await replies.stop(reply.conversation_id)
    row = await saved(reply)
    assert row.status == "stopped"
    assert 3 <= row.content.count("word") < 100
    assert [resident.in_flight for resident in runtime.pool.residents()] == [0]


async def test_what_was_written_is_saved_now_and_then(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "SAVE_SECONDS", 0.0)
    reply = await ask("slow", LONG)
    while reply.text.count("word") < 3:
        await reply.changed_since(reply.version)
    row = await saved(reply)
    assert (row.status, row.content.startswith("word")) == ("streaming", True)
    await replies.stop(reply.conversation_id)


async def test_a_worker_that_dies_fails_the_reply_with_its_text_kept(runtime: Runtime) -> None:
    reply = await ask("crash", "one two three four five")
    await reply.ended()
    row = await saved(reply)
    assert (row.status, row.error_code) == ("failed", "worker_died")
    assert "one two three".startswith(row.content)
    assert "ended unexpectedly" in row.error


async def test_after_a_failure_the_same_question_can_be_asked_again(runtime: Runtime) -> None:
    reply = await ask("crash", "one two three four five")
    await reply.ended()
    again = await act(reply.conversation_id, {"action": f"regenerate {reply.message.pk}"})
    assert again is not None
    await again.ended()
    assert (await saved(again)).error_code == "worker_died"


async def test_a_model_that_cannot_be_loaded_says_why(runtime: Runtime) -> None:
    reply = await ask("broken", "Hello")
    await reply.ended()
    row = await saved(reply)
    assert (row.status, row.error_code) == ("failed", "load_failed")
    assert "never loads" in row.error


async def test_a_model_that_is_gone_is_named(runtime: Runtime) -> None:
    conversation = await sync_to_async(make_conversation)(model_name="nobody")
    reply = await act(conversation.pk, {"text": "Hello"})
    assert reply is not None
    await reply.ended()
    row = await saved(reply)
    assert (row.status, row.error_code) == ("failed", "model_not_found")
    assert "nobody" in row.error


async def test_one_reply_at_a_time_in_a_conversation(runtime: Runtime) -> None:
    reply = await ask("slow", LONG)
    with pytest.raises(Refused, match="Wait until this reply is finished"):
        await act(reply.conversation_id, {"text": "And another"})
    assert await Message.objects.filter(role="user").acount() == 1
    await stop(reply)


async def test_two_sends_at_once_begin_one_reply(runtime: Runtime) -> None:
    await sync_to_async(make_model)("slow")
    conversation = await sync_to_async(make_conversation)(model_name="slow")
    sends = (act(conversation.pk, {"text": LONG}) for _ in range(2))
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Refused", "Reply"]
    await stop(next(result for result in results if isinstance(result, Reply)))


async def test_the_page_is_told_when_the_model_is_being_loaded(runtime: Runtime) -> None:
    reply = await ask("sleepy", "Hello")
    seen = set()
    while not reply.is_over:
        seen.add(reply.activity.split(" ")[0])
        await reply.changed_since(reply.version, within=0.05)
    assert "Loading" in seen


async def test_a_conversation_deleted_while_it_is_answered_leaves_nothing(
    runtime: Runtime,
) -> None:
    reply = await ask("slow", LONG)
    await Conversation.objects.all().adelete()
    await stop(reply)
    assert not await Message.objects.aexists()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"text": "  \n "}, "Write a message first"),
        ({"text": "Hello", "temperature": "9"}, "Temperature"),
        ({"text": "Hello", "seed": "-1"}, "Seed"),
        ({"action": "regenerate 12345"}, "no longer there"),
        ({"action": "regenerate ²"}, "no longer there"),
        ({"action": "switch 99999999999999999999999"}, "no longer there"),
        ({"action": "explode"}, "Reload it"),
        ({"action": "edit 1"}, "Write a message first"),
    ],
)
async def test_a_wish_that_cannot_be_met_is_refused(
    runtime: Runtime, fields: dict[str, str], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        await act(UUID(int=1), fields)
    assert not await Message.objects.aexists()
    assert replies.live(UUID(int=1)) is None
