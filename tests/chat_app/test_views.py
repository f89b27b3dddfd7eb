from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client
from pytest_django import DjangoAssertNumQueries

from chat_app.models import Conversation, Message
from mlxgui import runtime as runtime_module
from mlxgui.runtime import Runtime
from models_app.models import Source
from tests.factories import make_conversation, make_message, make_model

pytestmark = pytest.mark.django_db(transaction=True)


async def get(client: AsyncClient, path: str, **data: str) -> str:
    response = await client.get(path, data)
    assert response.status_code == 200
    return response.content.decode()


def test_the_chat_leads_to_the_newest_conversation(client: Client) -> None:
    make_conversation("old", pinned=True)
    newest = make_conversation("new")
    assert client.get("/chat/")["Location"] == f"/chat/{newest.pk}/"


def test_without_conversations_it_leads_to_a_new_one(client: Client) -> None:
    assert client.get("/chat/")["Location"] == "/chat/new/"
    address = client.get("/chat/new/", {"model": "echo"})["Location"]
    assert UUID(address.split("/")[2])
    assert address.endswith("?model=echo")
    assert not Conversation.objects.exists()


async def test_a_new_chat_has_a_composer_and_no_row(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    html = await get(async_client, f"/chat/{uuid4()}/")
    assert 'id="composer"' in html
    assert "There is no model yet" in html
    assert not await Conversation.objects.aexists()


async def test_the_page_shows_the_thread(runtime: Runtime, async_client: AsyncClient) -> None:
    conversation = await sync_to_async(make_conversation)("Is <b> bold?", "It is **bold**.")
    html = await get(async_client, f"/chat/{conversation.pk}/")
    assert '<div class="bubble">Is &lt;b&gt; bold?</div>' in html
    assert "It is <strong>bold</strong>." in html
    assert f"/ws/chat/{conversation.pk}/?revision={conversation.revision}" in html


async def test_the_page_keeps_to_the_content_security_policy(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    await sync_to_async(make_model)("echo")
    conversation = await sync_to_async(make_conversation)("Hello", "```python\nx = 1\n```")
    html = await get(async_client, f"/chat/{conversation.pk}/")
    assert " style=" not in html
    assert "<style" not in html
    assert " onclick" not in html
    assert "<script>" not in html


async def test_the_theme_comes_from_the_cookie(runtime: Runtime, async_client: AsyncClient) -> None:
    async_client.cookies["theme"] = "dark"
    assert '<html lang="en" data-theme="dark">' in await get(async_client, f"/chat/{uuid4()}/")
    async_client.cookies["theme"] = '"><script>'
    assert '<html lang="en">' in await get(async_client, f"/chat/{uuid4()}/")


async def test_the_starter_model_is_called_what_it_is(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    await sync_to_async(make_model)("starter", source=Source.STARTER)
    html = await get(async_client, f"/chat/{uuid4()}/")
    assert "small demo model that knows this application only" in html
    assert "data-question" in html


async def test_models_that_cannot_chat_are_not_offered(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    await sync_to_async(make_model)("echo")
    await sync_to_async(make_model)("vectors", kind="embedding")
    html = await get(async_client, f"/chat/{uuid4()}/", model="vectors")
    assert '<option value="echo" selected>' in html
    assert "vectors" not in html


async def test_a_model_that_is_gone_is_still_named(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    await sync_to_async(make_model)("echo")
    conversation = await sync_to_async(make_conversation)("Hello", model_name="gone")
    html = await get(async_client, f"/chat/{conversation.pk}/")
    assert "gone (not found)" in html


async def test_the_form_works_without_javascript(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    await sync_to_async(make_model)("slow")
    path = f"/chat/{uuid4()}/"
    response = await async_client.post(path, {"action": "send", "text": "a b", "model": "slow"})
    assert (response.status_code, response["Location"]) == (302, f"{path}#end")
    assert await Message.objects.filter(status="complete", content="a b").acount() == 2
    html = await get(async_client, path)
    assert "2 in, 2 out" in html


async def test_without_javascript_a_refusal_is_shown_and_the_text_kept(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    path = f"/chat/{uuid4()}/"
    response = await async_client.post(path, {"text": "Hello", "top_p": "7"})
    html = await get(async_client, response["Location"])
    assert "Top p" in html
    assert ">Hello</textarea>" in html


async def test_editing_works_in_place_and_as_a_page(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    conversation = await sync_to_async(make_conversation)("Hello", "Hi")
    message = await conversation.messages.afirst()
    whole = await get(async_client, f"/chat/{conversation.pk}/", edit=str(message.pk))
    part = await get(async_client, f"/chat/{conversation.pk}/messages/{message.pk}/", edit="1")
    for html in (whole, part):
        assert f'name="action" value="edit {message.pk}"' in html
    assert "<html" not in part
    missing = await async_client.get(f"/chat/{conversation.pk}/messages/999/")
    assert missing.status_code == 404


async def test_long_chats_show_their_end_first(runtime: Runtime, async_client: AsyncClient) -> None:
    turns = [f"message {number}." for number in range(100)]
    conversation = await sync_to_async(make_conversation)(*turns)
    html = await get(async_client, f"/chat/{conversation.pk}/")
    assert "Show earlier messages (20)" in html
    assert "message 19." not in html
    assert "message 0." in await get(async_client, f"/chat/{conversation.pk}/", show="480")


def test_rename_pin_and_delete(client: Client) -> None:
    conversation = make_conversation("Hello", "Hi")
    client.post(f"/chat/{conversation.pk}/rename/", {"title": "Greetings"})
    client.post(f"/chat/{conversation.pk}/pin/")
    conversation.refresh_from_db()
    assert (conversation.title, conversation.pinned) == ("Greetings", True)
    response = client.post(f"/chat/{conversation.pk}/delete/")
    assert response["Location"] == "/chat/"
    assert not Conversation.objects.exists()
    assert client.post(f"/chat/{conversation.pk}/rename/").status_code == 404


def test_changes_need_post_and_a_token(client: Client) -> None:
    conversation = make_conversation("Hello")
    for verb in ("rename", "pin", "delete"):
        assert client.get(f"/chat/{conversation.pk}/{verb}/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(f"/chat/{conversation.pk}/delete/").status_code == 403
    assert Conversation.objects.exists()


def test_the_list_can_be_searched(client: Client) -> None:
    make_conversation("About whales", title="Whales")
    make_conversation("About stones", title="Stones")
    html = client.get("/chat/list/", {"q": "whale"}).content.decode()
    assert "Whales" in html
    assert "Stones" not in html


def test_queries_do_not_grow_with_messages_and_chats(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    monkeypatch.setattr(runtime_module, "_runtime", None)
    make_model("echo")
    conversation = make_conversation("Hello", "Hi")
    for number in range(20):
        make_message(conversation, f"message {number}")
        make_conversation("Hello", title=f"chat {number}")
    with django_assert_max_num_queries(6):
        client.get(f"/chat/{conversation.pk}/")


@pytest.mark.parametrize("name", ["conversation", "message"])
def test_the_admin_shows_what_was_said(admin_client: Client, name: str) -> None:
    conversation = make_conversation("Hello there", "Hi")
    html = admin_client.get(f"/admin/chat_app/{name}/", {"q": "Hello"}).content.decode()
    assert conversation.title in html
    row = conversation.pk if name == "conversation" else conversation.leaf.pk
    assert admin_client.get(f"/admin/chat_app/{name}/{row}/change/").status_code == 200


@pytest.mark.parametrize("name", ["dataset", "trainingjob"])
def test_the_admin_lists_the_rows_of_training(admin_client: Client, name: str) -> None:
    assert admin_client.get(f"/admin/training_app/{name}/").status_code == 200


def test_the_training_page_says_what_is_not_there_yet(client: Client) -> None:
    assert "later version" in client.get("/training/").content.decode()
