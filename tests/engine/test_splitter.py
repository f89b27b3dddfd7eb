"""Text of model families as it comes, cut at every place, against the events that must come out."""

from typing import Any

import pytest
from mlx_lm.generate import TextStateMachine

from mlxgui.engine.output.splitter import Splitter
from mlxgui.engine.output.tool_calls import parse_calls
from mlxgui.engine.types import Event, Text, Thinking, ToolCall

pytestmark = pytest.mark.model

STATES = {
    "normal": [("<think>", "reasoning"), ("<tool_call>", "tool")],
    "reasoning": [("</think>", "normal")],
    "tool": [("</tool_call>", "normal")],
}


def json_parser(text: str, tools: Any) -> Any:
    import json

    return json.loads(text)


def splitter(*stops: str, initial: str = "normal") -> Splitter:
    states = {name: [*edges, *((stop, None) for stop in stops)] for name, edges in STATES.items()}
    return Splitter(
        TextStateMachine(states), initial=initial, stop=list(stops), tool_parser=json_parser
    )


def joined(events: list[Event]) -> list[tuple[str, str]]:
    """Neighbours of a kind as one, so that where the text was cut does not show."""
    out: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, ToolCall):
            out.append(("call", f"{event.position} {event.name} {event.arguments}"))
        elif isinstance(event, Text | Thinking):
            kind = type(event).__name__.lower()
            if out and out[-1][0] == kind:
                out[-1] = (kind, out[-1][1] + event.text)
            else:
                out.append((kind, event.text))
    return out


CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
CASES: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("plain", "Hello there", [("text", "Hello there")]),
    (
        "a thought first",
        "<think>\nHm.\n</think>\n\nYes.",
        [("thinking", "Hm.\n"), ("text", "Yes.")],
    ),
    ("a call", f"Wait.{CALL}", [("text", "Wait."), ("call", '0 add {"a": 1}')]),
    ("two calls", CALL + CALL, [("call", '0 add {"a": 1}'), ("call", '1 add {"a": 1}')]),
    ("no call after all", "a <tool b", [("text", "a <tool b")]),
    ("a broken call", "<tool_call>{oops</tool_call>", [("text", "{oops")]),
    ("a nameless call", "<tool_call>[1]</tool_call>", [("text", "[1]")]),
    ("a call cut short", '<tool_call>{"name": "a', [("text", '{"name": "a')]),
    ("an open thought", "<think>so", [("thinking", "so")]),
]


@pytest.mark.parametrize(("title", "text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_events_do_not_depend_on_where_the_text_is_cut(
    title: str, text: str, expected: list[tuple[str, str]]
) -> None:
    for cut in range(len(text) + 1):
        split = splitter()
        events = split.feed(text[:cut]) + split.feed(text[cut:]) + split.finish(stopped=False)
        assert joined(events) == expected, f"cut at {cut}"


def test_letter_by_letter_is_the_same() -> None:
    for _, text, expected in CASES:
        split = splitter()
        events = [event for letter in text for event in split.feed(letter)]
        assert joined(events + split.finish(stopped=False)) == expected


def test_a_prompt_that_opens_the_thought_begins_in_it() -> None:
    split = splitter(initial="reasoning")
    events = split.feed("so</think>\nyes") + split.finish(stopped=True)
    assert joined(events) == [("thinking", "so"), ("text", "yes")]


@pytest.mark.parametrize("cut", range(12))
def test_a_stop_string_ends_the_text_wherever_it_is_cut(cut: int) -> None:
    text = "abc STOP def"
    split = splitter("STOP", "OP d")
    events = split.feed(text[:cut]) + split.feed(text[cut:]) + split.finish(stopped=False)
    assert joined(events) == [("text", "abc ")]
    assert split.stop_text == "STOP"
    assert split.feed("more") == []


def test_a_call_that_ends_with_the_turn_is_a_call() -> None:
    split = splitter()
    events = split.feed('<tool_call>{"name": "a", "arguments": "{}"}') + split.finish(stopped=True)
    assert joined(events) == [("call", "0 a {}")]


def test_every_call_has_an_id_of_its_own() -> None:
    events = splitter().feed(CALL + CALL)
    ids = {event.id for event in events if isinstance(event, ToolCall)}
    assert len(ids) == 2


@pytest.mark.parametrize("text", ["", "null", "3", '{"arguments": {}}', '{"name": 3}', "{"])
def test_what_is_no_call_is_none(text: str) -> None:
    assert parse_calls(text, json_parser, []) == []
