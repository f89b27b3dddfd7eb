"""A call that is required is written, whatever the family; and what comes out can be read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from mlx_lm import tokenizer_utils
from mlx_lm.generate import TextStateMachine

from mlxgui.engine.backends.grammar import Grammars
from mlxgui.engine.backends.prompts import as_template_tool
from mlxgui.engine.backends.tool_grammar import family_of, tool_constraint
from mlxgui.engine.backends.tool_writings import WRITINGS
from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.output.splitter import Splitter
from mlxgui.engine.types import Constraint, Tool
from tests import tiny
from tests.engine.tools import TOOLS, joined, object_of

pytestmark = pytest.mark.model

MARKERS = {
    "mistral": ["[TOOL_CALLS]", "[ARGS]"],
    "mistral_list": ["[TOOL_CALLS]"],
    "kimi_k2": [
        "<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>",
        "<|tool_call_end|>", "<|tool_calls_section_end|>",
    ],
    "kimi_k3": ["<|open|>", "<|close|>", "<|sep|>"],
    "glm47": [
        "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
    ],
    "pythonic": ["<|tool_call_start|>", "<|tool_call_end|>"],
    "gemma4": ["<|tool_call>", "<tool_call|>", '<|"|>'],
    "function_gemma": ["<start_function_call>", "<end_function_call>", "<escape>"],
}  # fmt: skip
SHORT = {"type": "string", "enum": ["Paris", "New York"]}
"""Free text could hold a call's own marks; a random model would write them sooner or later."""


class Family:
    """A tokenizer that knows the marks of a family as tokens, or none of them."""

    def __init__(self, folder: Path, name: str, *, marked: bool) -> None:
        self.name = name
        module = name.removesuffix("_list")
        tiny.write_tokenizer(folder, MARKERS.get(name, []) if marked else [])
        self.tokenizer = tokenizer_utils.load(folder, {"tool_parser_type": module})
        self.eos = [self.tokenizer.eos_token_id]
        self.grammars = Grammars(self.tokenizer, tiny.VOCABULARY, self.eos)

    def write(self, tools: list[Tool], choice: str, seed: int, **changes: Any) -> str:
        """Text of tokens drawn evenly among those allowed, but the end as soon as it may come."""
        constraint = tool_constraint(self.grammars, self.tokenizer, tools, choice, **changes)
        matcher = self.grammars.compile(constraint, param="tool_choice").matcher()
        bits, random, found = self.grammars.bits(1), np.random.default_rng(seed), []
        for _ in range(3000):
            matcher.fill(bits[0])
            flags = np.unpackbits(bits.view(np.uint8), axis=-1, bitorder="little")[0]
            if flags[self.eos[0]] and (flags.sum() == 1 or random.random() < 0.7):
                return str(self.tokenizer.decode(found))
            flags[self.eos[0]] = 0
            found.append(int(random.choice(np.flatnonzero(flags))))
            matcher.consume(found[-1])
        raise AssertionError(f"no end: {self.tokenizer.decode(found)[:300]}")

    def read(self, text: str, tools: list[Tool]) -> list[list[str]]:
        start, end = self.tokenizer.tool_call_start, self.tokenizer.tool_call_end
        machine = TextStateMachine(
            {"normal": [(start, "tool")], "tool": [(end, "normal")] if end else []}
        )
        split = Splitter(
            machine,
            tool_parser=self.tokenizer.tool_parser,
            tools=[as_template_tool(tool) for tool in tools],
            markers=(start, end),
        )
        events = split.feed(text) + split.finish(stopped=True)
        return [row for row in joined(events) if row[0] == "call" or row[1].strip()]


Make = Callable[..., Family]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    made: dict[tuple[str, bool], Family] = {}

    def one(name: str, marked: bool = True) -> Family:
        if (name, marked) not in made:
            made[name, marked] = Family(tmp_path_factory.mktemp(name), name, marked=marked)
        return made[name, marked]

    return one


def bounded(family: str) -> list[Tool]:
    """Tools whose values are short, so that a random writer finishes; flat where it must be."""
    count = {"type": "integer", "minimum": 1, "maximum": 99}
    first = Tool("get_weather", "", object_of(["city"], city=SHORT, days=count))
    second = Tool("ping", "", object_of([]))
    third = Tool("measure", "", object_of(["exact"], exact={"type": "boolean"}, unit=SHORT))
    stop = object_of(["city"], city=SHORT, days=count)
    stop["additionalProperties"] = False
    nested = Tool(
        "plan", "", object_of(["stops"], stops={"type": "array", "items": stop, "maxItems": 2})
    )
    return [first, second, third, *([] if family == "function_gemma" else [nested])]


@pytest.mark.parametrize("marked", [True, False], ids=["marks are tokens", "marks are text"])
@pytest.mark.parametrize("family", sorted(WRITINGS))
def test_what_a_random_model_writes_is_calls_of_the_tools(
    make: Make, family: str, marked: bool
) -> None:
    if not marked and family in ("mistral",):
        pytest.skip("without its mark the family writes a list")
    one, tools = make(family, marked), bounded(family)
    schemas = {tool.name: tool.parameters for tool in tools}
    for seed in range(12):
        text = one.write(tools, "required", seed)
        rows = one.read(text, tools)
        assert rows and all(row[0] == "call" for row in rows), text
        for _, name, arguments in rows:
            jsonschema.validate(json.loads(arguments), schemas[name])


@pytest.mark.parametrize("marked", [True, False], ids=["marks are tokens", "marks are text"])
@pytest.mark.parametrize("family", sorted(WRITINGS))
def test_free_text_in_an_argument_goes_up_to_its_end(make: Make, family: str, marked: bool) -> None:
    one = make(family, marked)
    kinds: list[dict[str, Any]] = [{"type": "string", "enum": ["Paris"]}, {"type": "string"}]
    known, free = ([Tool("note", "", object_of(["text"], text=kind))] for kind in kinds)
    text = one.write(known, "note", 1).replace("Paris", "if a < b & c")
    assert one.read(text, free) == [["call", "note", '{"text": "if a < b & c"}']]
    constraint = tool_constraint(one.grammars, one.tokenizer, free, "note")
    matcher = one.grammars.compile(constraint).matcher()
    for token in one.tokenizer.encode(text, add_special_tokens=False):
        matcher.consume(token)
    assert matcher.is_complete and not matcher.failure


@pytest.mark.parametrize("family", sorted(WRITINGS))
def test_one_call_is_one_call(make: Make, family: str) -> None:
    one, tools = make(family), bounded(family)
    for seed in range(6):
        assert len(one.read(one.write(tools, "required", seed, parallel=False), tools)) == 1
        named = one.read(one.write(tools, "ping", seed), tools)
        assert [row[1] for row in named] == ["ping"]


def test_several_calls_may_come_where_they_are_allowed(make: Make) -> None:
    one, tools = make("json_tools"), bounded("json_tools")
    counts = {len(one.read(one.write(tools, "required", seed), tools)) for seed in range(20)}
    assert len(counts) > 1


def test_an_answer_is_a_call_or_what_the_schema_says(make: Make) -> None:
    one, tools = make("json_tools"), bounded("json_tools")
    wanted = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wanted["additionalProperties"] = False
    kinds = set()
    for seed in range(20):
        for otherwise in (
            Constraint("json_schema", json.dumps(wanted)),
            Constraint("regex", "^ok$"),
        ):
            text = one.write(tools, "auto", seed, otherwise=otherwise)
            rows = one.read(text, tools)
            kinds.add(rows[0][0])
            if rows[0][0] == "text":
                assert text == "ok" or json.loads(text)["ok"] in (True, False)
    assert kinds == {"text", "call"}


def test_definitions_and_odd_names_are_understood(make: Make) -> None:
    parameters = object_of(["where"], where={"$ref": "#/$defs/place"}, **{'a "b" <c>': SHORT})
    tools = [Tool("go", "", {**parameters, "$defs": {"place": SHORT}})]
    for family in ("json_tools", "qwen3_coder", "pythonic"):
        text = make(family).write(tools, "go", 1)
        assert "Paris" in text or "New York" in text


def test_schemas_of_tools_are_taken_leniently(make: Make) -> None:
    odd = {"type": "array", "items": SHORT, "maxItems": 2, "uniqueItems": True}
    tools = [Tool("go", "", object_of(["all"], all=odd))]
    for family in ("json_tools", "glm47"):
        (row,) = make(family).read(make(family).write(tools, "required", 2, parallel=False), tools)
        assert isinstance(json.loads(row[2])["all"], list)


def test_mistral_writes_a_list_where_it_has_no_mark_for_arguments(make: Make) -> None:
    assert family_of(make("mistral").tokenizer) == "mistral"
    assert family_of(make("mistral_list").tokenizer) == "mistral_list"


def test_what_cannot_be_required_is_refused_by_name(make: Make) -> None:
    cases: list[tuple[str, list[Tool], str, type[BadRequest], str]] = [
        ("muse_spark", TOOLS, "required", Unsupported, "muse_spark"),
        ("function_gemma", TOOLS, "plan", Unsupported, "function_gemma"),
        ("json_tools", TOOLS, "fly", BadRequest, "fly"),
        ("json_tools", [], "required", BadRequest, "at least one"),
    ]
    for family, tools, choice, kind, words in cases:
        with pytest.raises(kind, match=words) as caught:
            make(family).write(tools, choice, 0)
        assert caught.value.param == "tool_choice"


def test_every_family_is_either_written_or_refused() -> None:
    import mlx_lm.tool_parsers

    folder = Path(mlx_lm.tool_parsers.__path__[0])
    parsers = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert parsers - set(WRITINGS) == {"muse_spark"}
