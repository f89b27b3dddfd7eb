"""What a person can do on the chat page, by socket or by a plain form: one verb each."""

from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from channels.db import database_sync_to_async

from chat_app import replies
from chat_app.forms import ConversationForm
from chat_app.models import Conversation, Message
from chat_app.replies import Refused, Reply

Fields = Mapping[str, str]
TEXT_LIMIT = 400_000


async def act(conversation_id: UUID, fields: Fields) -> Reply | None:
    """Do what `fields["action"]` says: a verb, and the id of a message where it needs one.

    Returns the reply that began, if one did. Raises Refused with a message for the person.
    """
    verb, _, target = fields.get("action", "send").partition(" ")
    if verb not in VERBS:
        raise Refused("This page is out of date. Reload it.")
    return await VERBS[verb](conversation_id, target, fields)


async def send(conversation_id: UUID, target: str, fields: Fields) -> Reply:
    text = _text(fields)

    def ask() -> Message:
        conversation = _find(conversation_id) or Conversation(pk=conversation_id)
        _apply(conversation, fields)
        return conversation.add_user_message(text)

    return await replies.begin(conversation_id, ask)


async def edit(conversation_id: UUID, target: str, fields: Fields) -> Reply:
    text = _text(fields)

    def ask() -> Message:
        message = _message(conversation_id, target, Message.Role.USER)
        return message.conversation.edit(message, text)

    return await replies.begin(conversation_id, ask)


async def regenerate(conversation_id: UUID, target: str, fields: Fields) -> Reply:
    """Another reply to the same question; the old one stays beside it."""

    def ask() -> Message:
        message = _message(conversation_id, target, Message.Role.ASSISTANT)
        if message.parent is None:
            raise Refused("There is no question to answer.")
        return message.parent

    return await replies.begin(conversation_id, ask)


async def stop(conversation_id: UUID, target: str, fields: Fields) -> None:
    await replies.stop(conversation_id)


async def switch(conversation_id: UUID, target: str, fields: Fields) -> None:
    if replies.live(conversation_id):
        raise Refused("Wait until this reply is finished, or stop it first.")

    def turn() -> None:
        message = _message(conversation_id, target)
        message.conversation.switch_to(message)

    await database_sync_to_async(turn)()
    await replies.nudge(conversation_id)


async def configure(conversation_id: UUID, target: str, fields: Fields) -> None:
    """Keep the chosen model and settings. A chat that has no message yet keeps nothing."""

    def save() -> None:
        if conversation := _find(conversation_id):
            _apply(conversation, fields)
            conversation.save(update_fields=["model_name", "system_prompt", "sampling"])

    await database_sync_to_async(save)()


VERBS: dict[str, Callable[[UUID, str, Fields], Awaitable[Reply | None]]] = {
    "send": send,
    "edit": edit,
    "regenerate": regenerate,
    "stop": stop,
    "switch": switch,
    "configure": configure,
}


def _text(fields: Fields) -> str:
    text = (fields.get("text", "").strip() or fields.get("question", "")).replace("\r\n", "\n")
    if not text:
        raise Refused("Write a message first.")
    if len(text) > TEXT_LIMIT:
        raise Refused(f"This message is too long: {len(text):,} of {TEXT_LIMIT:,} characters.")
    return text


def _find(conversation_id: UUID) -> Conversation | None:
    return Conversation.objects.filter(pk=conversation_id).first()


def _apply(conversation: Conversation, fields: Fields) -> None:
    form = ConversationForm(fields)
    if not form.is_valid():
        name, errors = next(iter(form.errors.items()))
        raise Refused(f"{name.replace('_', ' ').capitalize()}: {errors[0]}")
    form.apply(conversation)


def _message(conversation_id: UUID, target: str, role: str = "") -> Message:
    wanted = Message.objects.filter(conversation=conversation_id).select_related(
        "conversation", "parent"
    )
    is_number = target.isascii() and target.isdigit() and len(target) < 19
    message = wanted.filter(pk=int(target)).first() if is_number else None
    if message is None or (role and message.role != role):
        raise Refused("This message is no longer there. Reload the page.")
    return message
