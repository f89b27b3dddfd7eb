"""Where to cut a prompt, so that what a next prompt shares with it ends where a segment ends.

States that cannot be cut back (sliding windows, state space) can be reused only from where they
were kept. Where that should be is asked of the template itself: the same conversation is rendered
as its continuations will render it, and each cut lies where the texts part. So it does not matter
whether a template opens a thinking block, drops thoughts from the history, or moves the tools.
"""

from collections.abc import Callable, Sequence

from mlxgui.engine.cache.entries import Kind
from mlxgui.engine.cache.trie import shared
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import Message

Layout = list[tuple[int, Kind]]
"""Ends of the segments, ascending, with their kinds: "system", "user" (history), "assistant"."""

SMALLEST_SYSTEM = 16
"""In tokens; a shorter common beginning is not worth a stop of its own."""
LONGEST_TAIL = 64
"""In tokens. A generation prompt is short; beyond, counting from the end would be slow."""

A, B = "Alpha", "Omega"


def layout(
    messages: Sequence[Message],
    tokens: list[int],
    *,
    text: str,
    render: Callable[[list[Message], bool], str],
    encode: Callable[[str], list[int]],
    decode: Callable[[list[int]], str],
    turns: bool = True,
) -> Layout:
    """The segments of a prompt.

    Args:
        messages: the conversation.
        tokens: the whole prompt, `encode(text)`.
        text: the whole prompt as text.
        render: text of a conversation; the flag adds what makes the model answer. May raise
            BadRequest for a conversation that the template refuses.
        encode: without special tokens of its own.
        decode: with special tokens.
        turns: False = states can be cut back anywhere, so that no turn's end need be a cut.
    """
    ends: dict[int, Kind] = {}
    if end := system_end(messages, tokens, text=text, render=render, encode=encode):
        ends[end] = "system"
    for future in continuations(messages) if turns else ():
        if (seen := _rendered(render, future)) is not None:
            same = shared(text, seen)
            end = tokens_before(same, tokens, text=text, encode=encode, decode=decode)
            if end > 0:
                ends.setdefault(end, "user")
    ends.setdefault(len(tokens), "assistant" if turns else "user")
    return sorted(ends.items())


def continuations(messages: Sequence[Message]) -> list[list[Message]]:
    """What may come next: a reply after which tools speak, and a reply after which the user does.

    Many templates keep the thoughts of the first kind and drop those of the second.
    """
    if messages[-1].role == "assistant":  # it is to be continued
        said = [*messages[:-1], Message("assistant", messages[-1].text + A)]
    else:
        said = [*messages, Message("assistant", A)]
    return [said, [*said, Message("user", B)]]


def system_end(
    messages: Sequence[Message],
    tokens: list[int],
    *,
    text: str,
    render: Callable[[list[Message], bool], str],
    encode: Callable[[str], list[int]],
) -> int:
    """How many tokens the system prompt and the tools take: where two first questions part."""
    system = []
    for message in messages:
        if message.role not in ("system", "developer"):
            break
        system.append(message)
    rendered = [_rendered(render, [*system, Message("user", word)]) for word in (A, B)]
    probes = [probe for probe in rendered if probe is not None]
    if len(system) == len(messages) or len(probes) < 2:
        return 0
    same = min(shared(text, probes[0]), shared(text, probes[1]))
    end = shared(encode(text[:same]), tokens)
    return end if SMALLEST_SYSTEM <= end < len(tokens) else 0


def tokens_before(
    characters: int,
    tokens: list[int],
    *,
    text: str,
    encode: Callable[[str], list[int]],
    decode: Callable[[list[int]], str],
) -> int:
    """How many tokens lie wholly within the first characters of the text."""
    rest = len(text) - characters
    if rest == 0:
        return len(tokens)
    for count in range(1, min(LONGEST_TAIL, len(tokens)) + 1):
        tail = decode(tokens[-count:])
        if len(tail) >= rest:
            if text.endswith(tail):
                return len(tokens) - count
            break  # the tokenizer does not give its text back as it was
    return shared(encode(text[:characters]), tokens)


def _rendered(render: Callable[[list[Message], bool], str], messages: list[Message]) -> str | None:
    try:
        return render(messages, False)
    except BadRequest:
        return None
