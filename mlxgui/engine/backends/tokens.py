"""Texts and tokens, both ways: what /v1/tokenize asks, and prompts with a gap to be filled."""

from typing import Any, Protocol

import msgspec

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import GenerationRequest

QUESTIONS = ("tokenize", "detokenize")

# What stands before the text, before what follows the gap, and before what is to be written; and
# whether the text behind the gap comes first. Source: the model cards of the families named.
_MARKERS: list[tuple[str, str, str, bool]] = [
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", False),  # Qwen coder, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", False),  # StarCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", False),  # DeepSeek coder
    ("▁<PRE>", "▁<SUF>", "▁<MID>", False),  # Code Llama
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>", False),  # GLM coder
    ("[PREFIX]", "[SUFFIX]", "", True),  # Codestral
]


class Reader(Protocol):
    """What a backend makes prompts with."""

    tokenizer: Any

    def read(self, request: GenerationRequest) -> tuple[str, list[int]]: ...


def answer_about_tokens(reader: Reader, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A question of `QUESTIONS`. Raises BadRequest.

    `tokenize` takes a `request` and whether `pieces` are wanted, and gives the ids (`pieces`: the
    text of each); `detokenize` takes `tokens` and gives their `text`.
    """
    if name == "tokenize":
        request = msgspec.convert(arguments["request"], GenerationRequest)
        ids = reader.read(request)[1]
        wanted = ids if arguments.get("pieces") else []
        return {"tokens": ids, "pieces": [reader.tokenizer.decode([id]) for id in wanted]}
    ids = list(arguments["tokens"])
    width = len(reader.tokenizer)
    wrong = next((id for id in ids if not 0 <= id < width), None)
    if wrong is not None:
        raise BadRequest(
            f"There is no token {wrong}; this model's go from 0 to {width - 1}.", param="tokens"
        )
    return {"text": reader.tokenizer.decode(ids)}


def with_gap(tokenizer: Any, before: str, after: str) -> list[int]:
    """A prompt that asks for what stands between the two. Raises Unsupported where the model was
    not trained for it."""
    known = tokenizer.get_vocab()
    for first, second, third, turned in _MARKERS:
        if not all(marker in known for marker in (first, second, third) if marker):
            continue
        start, gap, end = (_ids(known, marker) for marker in (first, second, third))
        head, tail = _encode(tokenizer, before), _encode(tokenizer, after)
        body = [*gap, *tail, *start, *head] if turned else [*start, *head, *gap, *tail]
        return [*_beginning(tokenizer), *body, *end]
    raise Unsupported(
        "This model cannot fill a gap: its tokenizer has no tokens for it. Leave suffix out.",
        param="suffix",
    )


def _ids(known: dict[str, int], marker: str) -> list[int]:
    return [known[marker]] if marker else []


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def _beginning(tokenizer: Any) -> list[int]:
    """What the tokenizer itself puts in front of every text."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer.encode("")[:1] == [bos] else []
