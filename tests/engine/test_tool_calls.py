"""Tool calls as every family writes them, cut at every place; and what breaks off."""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import mlx_lm.tool_parsers
import pytest
from mlx_lm.generate import TextStateMachine

from mlxgui.engine.backends.prompts import as_template_tool
from mlxgui.engine.output.splitter import Splitter
from mlxgui.engine.output.tool_calls import SHAPES
from mlxgui.engine.types import Event, ToolCall
from tests.engine.tools import TOOLS, joined

pytestmark = pytest.mark.model

FOLDER = Path(__file__).parent / "transcripts"
CASES = [
    pytest.param(path.stem, case["text"], case["expected"], id=f"{path.stem}: {case['title']}")
    for path in sorted(FOLDER.glob("*.json"))
    for case in json.loads(path.read_text())
]


def splitter(family: str, **changes: Any) -> Splitter:
    module = importlib.import_module(f"mlx_lm.tool_parsers.{family}")
    start, end = module.tool_call_start, module.tool_call_end
    machine = TextStateMachine(
        {"normal": [(start, "tool")], "tool": [(end, "normal")] if end else []}
    )
    return Splitter(
        machine,
        tool_parser=module.parse_tool_call,
        tools=[as_template_tool(tool) for tool in TOOLS],
        markers=(start, end),
        **changes,
    )


def read(split: Splitter, *parts: str, stopped: bool = True) -> list[Event]:
    events = [event for part in parts for event in split.feed(part)]
    return events + split.finish(stopped=stopped)


def rows(events: list[Event]) -> list[list[Any]]:
    """With arguments as values, as the transcripts have them."""
    found = joined(events)
    return [[*row[:2], json.loads(row[2])] if row[0] == "call" else list(row) for row in found]


def test_every_parser_of_the_library_has_its_transcripts() -> None:
    parsers = {module.name for module in pkgutil.iter_modules(mlx_lm.tool_parsers.__path__)}
    assert {path.stem for path in FOLDER.glob("*.json")} == parsers
    assert len(parsers) == 14


@pytest.mark.parametrize(("family", "text", "expected"), CASES)
def test_a_transcript_gives_its_calls_wherever_it_is_cut(
    family: str, text: str, expected: list[list[Any]]
) -> None:
    for cut in range(len(text) + 1):
        split = splitter(family)
        assert rows(read(split, text[:cut], text[cut:])) == expected, f"cut at {cut}"
        assert split.reason("stop") == "tool_calls"
    assert rows(read(splitter(family), *text)) == expected


@pytest.mark.parametrize(("family", "text", "expected"), CASES)
def test_every_call_has_a_place_and_an_id_of_its_own(
    family: str, text: str, expected: list[list[Any]]
) -> None:
    events = [event for event in read(splitter(family), *text) if isinstance(event, ToolCall)]
    starts = [event for event in events if event.name]
    assert [event.position for event in starts] == list(range(len(starts)))
    assert all(event.id for event in starts)
    assert len({event.id for event in starts}) == len(starts)
    assert [event.position for event in events] == sorted(event.position for event in events)


@pytest.mark.parametrize("family", sorted(SHAPES))
def test_where_arguments_are_json_they_come_in_pieces(family: str) -> None:
    text = json.loads((FOLDER / f"{family}.json").read_text())[0]["text"]
    calls = [event for event in read(splitter(family), *text) if isinstance(event, ToolCall)]
    assert (calls[0].name, calls[0].arguments) == ("get_weather", "")
    assert len(calls) > 20
    assert not any(event.name or event.id for event in calls[1:])


@pytest.mark.parametrize(("family", "text", "expected"), CASES)
def test_a_text_cut_short_anywhere_loses_nothing_and_repeats_nothing(
    family: str, text: str, expected: list[list[Any]]
) -> None:
    """What was cut off is raw text, or arguments that go as far as the text went."""
    whole = [row for row in expected if row[0] == "call"]
    for cut in range(len(text)):
        split = splitter(family)
        found = joined(read(split, *text[:cut], stopped=False))
        calls = [row for row in found if row[0] == "call"]
        assert [row[1] for row in calls] == [row[1] for row in whole[: len(calls)]]
        for row, (_, _, arguments) in zip(calls[:-1], whole, strict=False):
            assert json.loads(row[2]) == arguments
        if calls and not _is_json(calls[-1][2]):
            assert text[:cut].rstrip().endswith(calls[-1][2].rstrip())
            assert split.reason("length") == "length"
        if not calls:
            assert "".join(row[1] for row in found).strip() == text[:cut].strip()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("family", "text", "expected"), CASES)
def test_with_one_call_allowed_the_text_ends_behind_it(
    family: str, text: str, expected: list[list[Any]]
) -> None:
    until = next(i for i, row in enumerate(expected) if row[0] == "call") + 1
    for cut in range(0, len(text) + 1, 3):
        split = splitter(family, max_calls=1)
        found = rows(read(split, text[:cut], text[cut:] + " and more"))
        assert found == expected[:until] or not expected[until:] and found[:until] == expected
        assert split.reason("stop") == "tool_calls"


UNREADABLE = [
    ("json_tools", "<tool_call>{oops</tool_call>"),
    ("json_tools", "<tool_call>[1]</tool_call> x"),
    ("json_tools", "<tool_call></tool_call>"),
    ("glm47", "<tool_call>so \n it is</tool_call>"),
    ("qwen3_coder", "<tool_call>\n<function=note>"),
    ("pythonic", "<|tool_call_start|>[a(]<|tool_call_end|>"),
    ("mistral", "[TOOL_CALLS]what?"),
    ("minicpm5", "<function name=</function>"),
]
BROKEN = [
    (
        "json_tools",
        '<tool_call>{"name": "ping", "arguments": {}} and so on</tool_call>',
        [["call", "ping", "{}"], ["text", " and so on"]],
    ),
    (
        "json_tools",
        '<tool_call>{"name": "note", "arguments": {"text": </tool_call>Well.',
        [["call", "note", '{"text": '], ["text", "Well."]],
    ),
    (
        "mistral",
        "[TOOL_CALLS]ping[ARGS]{}ping[AR",
        [["call", "ping", "{}"], ["text", "ping[AR"]],
    ),
]


@pytest.mark.parametrize(("family", "text"), UNREADABLE)
def test_what_is_no_call_is_raw_text(family: str, text: str) -> None:
    for cut in range(len(text) + 1):
        split = splitter(family)
        assert joined(read(split, text[:cut], text[cut:])) == [["text", text]], f"cut at {cut}"
        assert split.reason("stop") == "stop"


@pytest.mark.parametrize(("family", "text", "expected"), BROKEN)
def test_a_call_that_breaks_off_ends_with_what_came(
    family: str, text: str, expected: list[list[str]]
) -> None:
    for cut in range(len(text) + 1):
        split = splitter(family)
        assert joined(read(split, text[:cut], text[cut:])) == expected, f"cut at {cut}"
        assert split.reason("stop") == "tool_calls"


def test_the_id_that_the_model_gave_is_kept_but_not_twice() -> None:
    text = json.loads((FOLDER / "kimi_k2.json").read_text())[1]["text"]
    events = read(splitter("kimi_k2"), text.replace("note:1", "get_weather:0"))
    ids = [event.id for event in events if isinstance(event, ToolCall) and event.name]
    assert ids[0] == "functions.get_weather:0"
    assert ids[1].startswith("call_")
