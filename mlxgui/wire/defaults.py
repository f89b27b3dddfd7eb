"""Values for what a request left open: the model's own settings, else the surface's document."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mlxgui.engine.types import GenerationRequest, Message, Sampling

_SAMPLING = frozenset(Sampling.__struct_fields__)


def filled(
    request: GenerationRequest, given: frozenset[str], *layers: Mapping[str, Any]
) -> GenerationRequest:
    """The request with every open sampling value, and `max_tokens`, from the first layer that
    names it. `given` are the names that the client chose itself. A model's or a profile's layer
    may also name `system_prompt`, `stop`, `enable_thinking` and `template_kwargs`."""
    values: dict[str, Any] = {}
    for layer in reversed(layers):
        values.update(layer)
    open_values = {name: value for name, value in values.items() if name not in given}
    chosen = {name: value for name, value in open_values.items() if name in _SAMPLING}
    sampling = msgspec.structs.replace(request.sampling, **chosen)
    max_tokens = open_values.get("max_tokens", request.max_tokens)
    return msgspec.structs.replace(
        request,
        sampling=sampling,
        max_tokens=max_tokens,
        may_end_early="max_tokens" in open_values,
        messages=with_system(request.messages, values.get("system_prompt", "")),
        stop=request.stop or values.get("stop", []),
        enable_thinking=_first(request.enable_thinking, values.get("enable_thinking")),
        template_kwargs={**values.get("template_kwargs", {}), **request.template_kwargs},
    )


def with_system(messages: list[Message], prompt: str) -> list[Message]:
    """The prompt in front of a conversation that has none; text without messages stays as it is."""
    if not prompt.strip() or not messages:
        return messages
    if any(message.role in ("system", "developer") for message in messages):
        return messages
    return [Message("system", prompt), *messages]


def _first(asked: bool | None, default: bool | None) -> bool | None:
    return default if asked is None else asked
