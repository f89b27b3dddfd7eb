"""What the model gets to read: the path to a message, the system prompt, the sampling."""

from typing import Any, Literal

from chat_app.models import Conversation, Message
from chat_app.thread import path_to
from mlxgui.engine.types import GenerationRequest, Sampling
from mlxgui.engine.types import Message as Turn
from models_app.models import Model

CHAT_PRIORITY = 11
"""Somebody sits before it: it goes before any request of the API, which may say up to 10."""
NEUTRAL = {"temperature": 0.7}
STARTER = {"temperature": 0.0}
"""The starter model has learnt its answers by heart: chance only makes them worse."""


def request_for(conversation: Conversation, last: Message, model: Model) -> GenerationRequest:
    """The request for a reply to `last`. What the person chose goes before the model's own."""
    values = {**defaults(model), **conversation.sampling}
    system = conversation.system_prompt or str(values.get("system_prompt", ""))
    path = [entry.message for entry in path_to(last.pk, list(conversation.messages.all()))]
    return GenerationRequest(
        messages=turns(system, path),
        sampling=sampling_from(values),
        max_tokens=int(values.get("max_tokens", 0)),
        stop=values.get("stop", []),
        enable_thinking=values.get("enable_thinking"),
        template_kwargs=values.get("template_kwargs", {}),
        priority=CHAT_PRIORITY,
    )


def defaults(model: Model) -> dict[str, Any]:
    """What holds where the person chose nothing."""
    return {**(STARTER if model.is_starter else NEUTRAL), **model.sampling_defaults}


def turns(system: str, path: list[Message]) -> list[Turn]:
    """Replies that failed before their first word are left out; equal roles in a row are joined,
    because many chat templates insist that roles alternate."""
    found = [Turn(role="system", content=system)] if system.strip() else []
    for message in path:
        if not message.content:
            continue
        role: Literal["user", "assistant"] = (
            "user" if message.role == Message.Role.USER else "assistant"
        )
        if found and found[-1].role == role:
            found[-1] = Turn(role=role, content=f"{found[-1].text}\n\n{message.content}")
        else:
            found.append(Turn(role=role, content=message.content))
    return found


def sampling_from(values: dict[str, Any]) -> Sampling:
    known = set(Sampling.__struct_fields__)
    return Sampling(**{name: value for name, value in values.items() if name in known})
