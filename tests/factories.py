"""Rows with good defaults."""

from typing import Any

from chat_app.models import Conversation, Message
from models_app.models import Model


def make_model(name: str = "echo", **changes: Any) -> Model:
    """A model of the fake backend. Its folder is the backend's knob: echo, slow, broken, ..."""
    values = {"path": name, "kind": "fake", "context_tokens": 4096, **changes}
    return Model.objects.create(name=name, **values)


def make_conversation(*turns: str, **changes: Any) -> Conversation:
    """A conversation with these messages: question, answer, question, ..."""
    values = {"title": "A chat", "model_name": "echo", **changes}
    conversation = Conversation.objects.create(**values)
    for number, text in enumerate(turns):
        make_message(conversation, text, role="assistant" if number % 2 else "user")
    return conversation


def make_message(conversation: Conversation, content: str = "Hello", **changes: Any) -> Message:
    """A message at the end of the shown path."""
    values = {"role": "user", "parent_id": conversation.leaf_id, **changes}
    message = conversation.messages.create(content=content, **values)
    conversation.show(message)
    return message
