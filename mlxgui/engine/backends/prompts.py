"""From a request to tokens: chat template, segments for the prompt cache, checks.

Runs on the worker's reader thread; no mlx here, only the tokenizer.
"""

import json
from functools import lru_cache
from typing import Any

import msgspec
from jinja2 import TemplateError

from mlxgui.engine.backends.tokens import with_gap
from mlxgui.engine.cache.entries import Kind
from mlxgui.engine.cache.normalise import normalise
from mlxgui.engine.cache.segments import Layout, layout
from mlxgui.engine.errors import BadRequest, ContextOverflow
from mlxgui.engine.media import readable
from mlxgui.engine.types import GenerationRequest, Message

SYSTEM_PROMPTS = 8
"""Whose tokens are known: that of an agent takes long to encode, and comes with every request."""


class Prompt(msgspec.Struct):
    """A request ready for the batch. Segments are prefilled and cached apart: what a next turn
    shares (system prompt, history) must end where a segment ends."""

    tokens: list[int]
    layout: Layout
    starts_in_thinking: bool
    max_tokens: int
    request: GenerationRequest
    grammar: Any = None
    """What `backends.constraints` compiled for it; None = every token may come."""
    notes: list[str] = []
    """What was changed in it so that it can be reused; told to the client."""


class Prompter:
    """Renders prompts for one tokenizer.

    Args:
        tokenizer: mlx-lm's TokenizerWrapper.
        embedding_rows: token ids must be below; an index beyond reads foreign memory.
        context_tokens: prompt and answer together; 0 = unknown.
    """

    def __init__(self, tokenizer: Any, embedding_rows: int, context_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.embedding_rows = embedding_rows
        self.context_tokens = context_tokens
        self.cuts_at_turns = True
        """Whether states of this model are kept at the ends of turns."""
        self._encode_again = lru_cache(SYSTEM_PROMPTS)(self._encode)

    def readable(self, request: GenerationRequest) -> tuple[GenerationRequest, list[str]]:
        """The request as this model can read it, and what was left out. Raises Unsupported."""
        return readable(request, sees=False, hears=False)

    def plain(self, message: Message) -> dict[str, Any]:
        """The message as this model's chat template wants it."""
        return as_template_message(message)

    def prompt(self, request: GenerationRequest) -> Prompt:
        request, dropped = self.readable(request)
        request, notes = without_volatile_header(request)
        text, tokens = self.read(request)
        self._check(request, tokens)
        return Prompt(
            tokens=tokens,
            layout=self._layout(request, text, tokens),
            starts_in_thinking=bool(request.messages) and self._opens_thinking(tokens),
            max_tokens=self._room(request, len(tokens)),
            request=request,
            notes=[*dropped, *notes],
        )

    def read(self, request: GenerationRequest) -> tuple[str, list[int]]:
        """The text that messages become, and the tokens of the whole prompt, as yet unchecked."""
        if request.messages:
            text = self._text(request, request.messages)
            return text, self._encode(text)
        if request.prompt_tokens:
            return "", list(request.prompt_tokens)
        if request.suffix:
            return "", with_gap(self.tokenizer, request.prompt, request.suffix)
        return "", list(self.tokenizer.encode(request.prompt))

    def _text(
        self, request: GenerationRequest, messages: list[Message], *, whole: bool = True
    ) -> str:
        """The conversation as the model reads it; `whole` adds what makes it answer."""
        plain = [self.plain(message) for message in messages]
        if not self.tokenizer.has_chat_template:
            return without_template(plain, request.role_mapping)
        goes_on = whole and messages[-1].role == "assistant"
        kwargs: dict[str, Any] = dict(request.template_kwargs)
        if request.enable_thinking is not None:
            kwargs["enable_thinking"] = request.enable_thinking
        if goes_on:
            kwargs["continue_final_message"] = True
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    plain,
                    tokenize=False,
                    tools=[as_template_tool(tool) for tool in request.tools] or None,
                    add_generation_prompt=whole and not goes_on,
                    **kwargs,
                )
            )
        except (TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
            raise BadRequest(
                f"The model's chat template refuses these messages: {error}", param="messages"
            ) from error

    def _encode(self, text: str) -> list[int]:
        """A template writes special tokens itself; a plain transcript gets those of the model."""
        special = not self.tokenizer.has_chat_template
        return list(self.tokenizer.encode(text, add_special_tokens=special))

    def _layout(self, request: GenerationRequest, text: str, tokens: list[int]) -> Layout:
        if not request.messages or not self.tokenizer.has_chat_template:
            return [(len(tokens), "user")]
        return layout(
            request.messages,
            tokens,
            text=text,
            render=lambda messages, whole: self._text(request, messages, whole=whole),
            encode=self._encode_again,
            decode=self.tokenizer.decode,
            turns=self.cuts_at_turns,
        )

    def _check(self, request: GenerationRequest, tokens: list[int]) -> None:
        param = "messages" if request.messages else "prompt"
        if not tokens:
            raise BadRequest("The prompt is empty.", param=param)
        wrong = next((id for id in tokens if not 0 <= id < self.embedding_rows), None)
        if wrong is None:
            return
        if request.prompt_tokens:
            raise BadRequest(
                f"The prompt holds token {wrong}; this model's go from 0 to"
                f" {self.embedding_rows - 1}.",
                param=param,
            )
        raise BadRequest(
            f"The prompt holds token {wrong}, but the model's embedding has only"
            f" {self.embedding_rows} rows. Its tokenizer and weights do not belong together.",
            param=param,
        )

    def _room(self, request: GenerationRequest, prompt_tokens: int) -> int:
        """How many tokens the answer may have."""
        if not self.context_tokens:
            return request.max_tokens or 1 << 20
        room = self.context_tokens - prompt_tokens
        if room < 1:
            raise ContextOverflow(
                f"The prompt has {prompt_tokens} tokens, but this model's context is"
                f" {self.context_tokens} tokens. Shorten the conversation.",
                param="messages" if request.messages else "prompt",
            )
        return min(request.max_tokens or room, room)

    def _opens_thinking(self, tokens: list[int]) -> bool:
        if not self.tokenizer.has_thinking:
            return False
        start = self.tokenizer.rfind_think_start(tokens)
        return bool(start > self.tokenizer.rfind_think_end(tokens))


def without_volatile_header(request: GenerationRequest) -> tuple[GenerationRequest, list[str]]:
    """Headers in the system prompt that change with every request would make reuse impossible."""
    if not request.messages or request.messages[0].role not in ("system", "developer"):
        return request, []
    first = request.messages[0]
    text, notes = normalise(first.text)
    if not notes:
        return request, []
    changed = msgspec.structs.replace(first, content=text)
    messages = [changed, *request.messages[1:]]
    return msgspec.structs.replace(request, messages=messages), notes


def as_template_message(message: Message) -> dict[str, Any]:
    """The dict that Hugging Face chat templates expect."""
    plain: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.role == "developer":
        plain["role"] = "system"
    if message.name:
        plain["name"] = message.name
    if message.reasoning:
        plain["reasoning_content"] = message.reasoning
    if message.tool_call_id:
        plain["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return plain


def _arguments(text: str) -> Any:
    """Templates want an object; what is no JSON stays text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_template_tool(tool: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters or {"type": "object", "properties": {}},
        },
    }


ROLES = {
    "system": "System: ",
    "user": "User: ",
    "assistant": "Assistant: ",
    "tool": "Tool: ",
    "stop": "\n",
}


def without_template(messages: list[dict[str, Any]], mapping: dict[str, str]) -> str:
    """A plain transcript, for base models that bring no chat template.

    `mapping` gives each role its prefix; `stop` ends a message and `system_prompt` opens the
    transcript, as in mlx-lm's server.
    """
    chosen = {**ROLES, **mapping}
    lines = [
        f"{chosen.get(message['role'], '')}{message['content']}{chosen['stop']}"
        for message in messages
    ]
    text = "".join([chosen.get("system_prompt", ""), *lines, chosen["assistant"]])
    return text.rstrip()


def after_prefix(prompt: Prompt, cached: int) -> tuple[list[list[int]], list[Kind]]:
    """Segments and kinds behind the first `cached` tokens, without the very last token."""
    segments, kinds = [], []
    start, stop = 0, len(prompt.tokens) - 1
    for end, kind in prompt.layout:
        piece = prompt.tokens[max(start, cached) : min(end, stop)]
        start = end
        if piece:
            segments.append(piece)
            kinds.append(kind)
    return segments, kinds
