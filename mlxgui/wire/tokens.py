"""/v1/tokenize and /v1/detokenize: texts and tokens, both ways, as vLLM's server has them."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import GenerationRequest
from mlxgui.wire import Parsed, fields
from mlxgui.wire.openai_body import MAX_MESSAGES, MessageIn, ToolIn
from mlxgui.wire.openai_messages import messages_of, tools_of

MAX_TOKENS = 1 << 20


class TokenizeBody(Struct, kw_only=True):
    """A text (`text` or `prompt`), or a chat as the model's template writes it."""

    model: Annotated[str, Meta(min_length=1)] = "default_model"
    text: str | None = None
    prompt: str | None = None
    messages: Annotated[list[MessageIn], Meta(min_length=1, max_length=MAX_MESSAGES)] | None = None
    tools: list[ToolIn] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    enable_thinking: bool | None = None


class DetokenizeBody(Struct, kw_only=True):
    tokens: Annotated[list[int], Meta(max_length=MAX_TOKENS)]
    model: Annotated[str, Meta(min_length=1)] = "default_model"


_tokenize = msgspec.json.Decoder(TokenizeBody)
_detokenize = msgspec.json.Decoder(DetokenizeBody)


def parse(body: bytes) -> Parsed:
    """What is to be cut: a request that is only read."""
    given = fields.decode(_tokenize, body)
    texts = [text for text in (given.text, given.prompt) if text is not None]
    if len(texts) + bool(given.messages) != 1:
        raise BadRequest("Give one of text, prompt and messages.", param="text")
    request = GenerationRequest(
        prompt=texts[0] if texts else "",
        messages=messages_of(given.messages or []),
        tools=tools_of(given.tools),
        template_kwargs=given.chat_template_kwargs or {},
        enable_thinking=given.enable_thinking,
    )
    return Parsed(model=given.model, request=request)


def parse_tokens(body: bytes) -> DetokenizeBody:
    return fields.decode(_detokenize, body)
