from datetime import timedelta

import pytest
from django.utils import timezone

from chat_app.models import Conversation, Message, title_from
from tests.factories import make_conversation, make_message

pytestmark = pytest.mark.django_db


def texts(conversation: Conversation) -> list[str]:
    conversation.refresh_from_db()
    return [entry.message.content for entry in conversation.path()]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("two\nlines  and   spaces", "two lines and spaces"),
        ("word " * 30, "word word word word word word word word word word word…"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_title_is_the_beginning_of_the_first_message(text: str, title: str) -> None:
    assert title_from(text) == title


def test_the_first_message_names_the_conversation_and_the_second_does_not() -> None:
    conversation = Conversation()
    conversation.add_user_message("What is MLX?")
    conversation.add_user_message("And what else?")
    assert conversation.title == "What is MLX?"
    assert texts(conversation) == ["What is MLX?", "And what else?"]


def test_a_reply_begins_empty_and_streaming_below_its_question() -> None:
    conversation = make_conversation("Hello")
    reply = conversation.begin_reply(conversation.leaf)
    assert (reply.status, reply.content, reply.model_name) == ("streaming", "", "echo")
    assert texts(conversation) == ["Hello", ""]


def test_another_reply_stands_beside_the_first() -> None:
    conversation = make_conversation("Hello", "Hi")
    question = conversation.messages.get(content="Hello")
    second = conversation.begin_reply(question)
    second.content = "Good day"
    second.finish("stop")
    assert texts(conversation) == ["Hello", "Good day"]
    entry = conversation.path()[-1]
    assert (entry.position, entry.count) == (2, 2)


def test_editing_keeps_the_old_branch_and_shows_the_new_one() -> None:
    conversation = make_conversation("Hello", "Hi", "How are you?", "Fine")
    conversation.edit(conversation.messages.get(content="How are you?"), "What is new?")
    assert texts(conversation) == ["Hello", "Hi", "What is new?"]
    conversation.switch_to(conversation.messages.get(content="How are you?"))
    assert texts(conversation) == ["Hello", "Hi", "How are you?", "Fine"]


def test_switching_leaves_the_order_of_the_list_alone() -> None:
    conversation = make_conversation("Hello", "Hi")
    conversation.edit(conversation.messages.get(content="Hello"), "Hey")
    before = conversation.updated_at
    conversation.switch_to(conversation.messages.get(content="Hello"))
    conversation.refresh_from_db()
    assert conversation.updated_at == before


def test_every_change_that_shows_raises_the_revision() -> None:
    conversation = make_conversation("Hello")
    seen = [conversation.revision]
    reply = conversation.begin_reply(conversation.leaf)
    seen.append(Conversation.objects.get().revision)
    reply.finish("stop")
    seen.append(Conversation.objects.get().revision)
    assert seen == sorted(set(seen))


def test_a_reply_ends_in_one_of_three_ways() -> None:
    conversation = make_conversation("Hello")
    done, stopped, failed = (conversation.begin_reply(conversation.leaf) for _ in range(3))
    done.finish("length")
    stopped.stop()
    failed.fail("worker_died", "It died.")
    found = Message.objects.exclude(role="user").values_list(
        "status", "finish_reason", "error_code", "error"
    )
    assert list(found) == [
        ("complete", "length", "", ""),
        ("stopped", "", "", ""),
        ("failed", "", "worker_died", "It died."),
    ]


def test_a_reply_whose_row_is_gone_stays_gone() -> None:
    conversation = make_conversation("Hello")
    reply = conversation.begin_reply(conversation.leaf)
    Conversation.objects.all().delete()
    reply.keep("text", "")
    reply.finish("stop")
    assert not Message.objects.exists()


def test_replies_of_a_server_that_is_gone_are_failed() -> None:
    conversation = make_conversation("Hello")
    old = make_message(conversation, "half a", role="assistant", status="streaming")
    started = timezone.now()
    Message.objects.filter(pk=old.pk).update(created_at=started - timedelta(hours=1))
    fresh = make_message(conversation, "now", role="assistant", status="streaming")
    assert Message.objects.fail_abandoned(before=started) == 1
    old.refresh_from_db()
    fresh.refresh_from_db()
    assert (old.status, old.content, fresh.status) == ("failed", "half a", "streaming")


def test_search_looks_at_titles_and_messages() -> None:
    first = make_conversation("Tell me about whales", title="Animals")
    second = make_conversation("Tell me about stones", title="Geology")
    assert list(Conversation.objects.matching("whales")) == [first]
    assert list(Conversation.objects.matching("geo")) == [second]
    assert set(Conversation.objects.matching(" ")) == {first, second}
