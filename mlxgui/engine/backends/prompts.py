"""From a request to tokens: chat template, segments for the prompt cache, checks.

Runs on the worker's reader thread; no mlx here, only the tokenizer.
"""

import json
from typing import Any

import msgspec
from jinja2 import TemplateError

from mlxgui.engine.errors import BadRequest, ContextOverflow
from mlxgui.engine.types import GenerationRequest, Message

TAIL_TOKENS = 11
"""A template's generation prompt may open a thinking block: it lies within these last tokens."""


class Prompt(msgspec.Struct):
    """A request ready for the batch. Segments are prefilled and cached apart: what a next turn
    shares (system prompt, history) must end where a segment ends."""

    tokens: list[int]
    segments: list[list[int]]
    segment_kinds: list[str]
    starts_in_thinking: bool
    max_tokens: int
    request: GenerationRequest
    grammar: Any = None
    """What `backends.constraints` compiled for it; None = every token may come."""


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

    def prompt(self, request: GenerationRequest) -> Prompt:
        if request.messages:
            tokens = self._render(request, request.messages)
        else:
            tokens = list(self.tokenizer.encode(request.prompt))
        self._check(tokens)
        segments, kinds = self._segments(request, tokens)
        return Prompt(
            tokens=tokens,
            segments=segments,
            segment_kinds=kinds,
            starts_in_thinking=bool(request.messages) and self._opens_thinking(tokens),
            max_tokens=self._room(request, len(tokens)),
            request=request,
        )

    def _render(
        self, request: GenerationRequest, messages: list[Message], *, whole: bool = True
    ) -> list[int]:
        """Token ids of the conversation; `whole` adds what makes the model answer."""
        plain = [as_template_message(message) for message in messages]
        if not self.tokenizer.has_chat_template:
            return list(self.tokenizer.encode(without_template(plain, request.role_mapping)))
        goes_on = whole and messages[-1].role == "assistant"
        kwargs: dict[str, Any] = dict(request.template_kwargs)
        if request.enable_thinking is not None:
            kwargs["enable_thinking"] = request.enable_thinking
        if goes_on:
            kwargs["continue_final_message"] = True
        try:
            return list(
                self.tokenizer.apply_chat_template(
                    plain,
                    tools=[as_template_tool(tool) for tool in request.tools] or None,
                    add_generation_prompt=whole and not goes_on,
                    **kwargs,
                )
            )
        except (TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
            raise BadRequest(
                f"The model's chat template refuses these messages: {error}", param="messages"
            ) from error

    def _check(self, tokens: list[int]) -> None:
        if not tokens:
            raise BadRequest("The prompt is empty.", param="messages")
        if max(tokens) >= self.embedding_rows:
            raise BadRequest(
                f"The prompt holds token {max(tokens)}, but the model's embedding has only"
                f" {self.embedding_rows} rows. Its tokenizer and weights do not belong together.",
                param="messages",
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
                param="messages",
            )
        return min(request.max_tokens or room, room)

    def _opens_thinking(self, tokens: list[int]) -> bool:
        if not self.tokenizer.has_thinking:
            return False
        start = self.tokenizer.rfind_think_start(tokens)
        return bool(start > self.tokenizer.rfind_think_end(tokens))

    def _segments(
        self, request: GenerationRequest, tokens: list[int]
    ) -> tuple[list[list[int]], list[str]]:
        """Cut at the end of the system prompt and before an opened thinking block."""
        cuts: list[tuple[int, str]] = []
        if request.messages and request.messages[-1].role == "user":
            if end := self._system_end(request, tokens):
                cuts.append((end, "system"))
            tail = self._tail_start(tokens)
            if tail > (cuts[-1][0] if cuts else 0):
                cuts.append((tail, "user"))
        if not cuts or cuts[-1][0] < len(tokens):
            cuts.append((len(tokens), "assistant"))
        starts = [0, *(end for end, _ in cuts)]
        segments = [tokens[a:b] for a, b in zip(starts, starts[1:], strict=False)]
        return segments, [kind for _, kind in cuts]

    def _system_end(self, request: GenerationRequest, tokens: list[int]) -> int:
        """How many tokens the system prompt and the tools take: where two renderings part."""
        system = [m for m in request.messages[:1] if m.role in ("system", "developer")]
        if not system or not self.tokenizer.has_chat_template:
            return 0
        try:
            probe = self._render(request, [*system, Message("user", "")], whole=False)
        except BadRequest:
            return 0
        same = 0
        for a, b in zip(probe, tokens, strict=False):
            if a != b:
                break
            same += 1
        return same if same < len(tokens) else 0

    def _tail_start(self, tokens: list[int]) -> int:
        if not self.tokenizer.has_thinking:
            return len(tokens)
        start = self.tokenizer.rfind_think_start(tokens, start=max(0, len(tokens) - TAIL_TOKENS))
        return int(start) if start >= 0 else len(tokens)


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


def after_prefix(prompt: Prompt, cached: int) -> tuple[list[list[int]], list[str]]:
    """Segments and kinds behind the first `cached` tokens, without the very last token."""
    segments, kinds = [], []
    start, stop = 0, len(prompt.tokens) - 1
    for segment, kind in zip(prompt.segments, prompt.segment_kinds, strict=True):
        piece = prompt.tokens[max(start, cached) : min(start + len(segment), stop)]
        start += len(segment)
        if piece:
            segments.append(piece)
            kinds.append(kind)
    return segments, kinds
