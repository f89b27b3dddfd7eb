"""Constraints on tiny models with random weights: what they say is nonsense, and always valid."""

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import mlx.core as mx
import numpy as np
import pytest
from llguidance import LLParserLimits
from mlx_lm import load
from mlx_lm.generate import BatchGenerator
from mlx_lm.sample_utils import make_sampler

from mlxgui.engine.backends import grammar
from mlxgui.engine.backends.grammar import Grammars, Matcher, mask
from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import Constraint

pytestmark = pytest.mark.model

WIDTH = 512
NAME = {"type": "string", "maxLength": 10}
PERSON = {
    "type": "object",
    "properties": {"name": NAME, "age": {"type": "integer", "minimum": 0, "maximum": 130}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
SMALL = {"type": "integer", "minimum": -5, "maximum": 5}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    "an object": PERSON,
    "an optional property": {**PERSON, "required": ["age"]},
    "an array": {"type": "array", "items": SMALL, "minItems": 2, "maxItems": 4},
    "an array of objects": {"type": "array", "items": PERSON, "maxItems": 2},
    "a tuple": {"type": "array", "prefixItems": [SMALL, {"type": "boolean"}], "items": False},
    "an enum": {"enum": ["red", "green", 3, None, {"a": [1]}]},
    "a const": closed(kind={"const": "circle"}, size={"type": "boolean"}),
    "an integer in bounds": {"type": "integer", "minimum": 17, "exclusiveMaximum": 121},
    "a number in bounds": {"type": "number", "minimum": -1.5, "maximum": 2.25},
    "a multiple": {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 99},
    "a string of some length": {"type": "string", "minLength": 3, "maxLength": 8},
    "a pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}(-(alpha|beta))?$"},
    "an open pattern": {"type": "string", "pattern": "x[0-9]{2}", "maxLength": 12},
    "a date": {"type": "string", "format": "date"},
    "a UUID": {"type": "string", "format": "uuid"},
    "any of two": {"anyOf": [PERSON, {"type": "null"}]},
    "one of two that differ": {"oneOf": [{"type": "boolean"}, SMALL]},
    "all of two": {"allOf": [PERSON, {"properties": {"age": {"minimum": 100}}}]},
    "several types": {"type": ["boolean", "null", "integer"], "minimum": 0, "maximum": 9},
    "definitions": {
        "$defs": {"point": closed(x=SMALL, y=SMALL)},
        **closed(start={"$ref": "#/$defs/point"}, end={"$ref": "#/$defs/point"}),
    },
    "four levels": closed(a=closed(b=closed(c=closed(d=NAME)))),
    "unicode": closed(**{"größe": {"enum": ["klein", "groß"]}, "名前": {"const": "山田 🦊"}}),
    "pattern properties": {
        "type": "object",
        "patternProperties": {"^x[0-9]$": SMALL},
        "additionalProperties": False,
        "maxProperties": 3,
    },
    "free properties": {"type": "object", "additionalProperties": SMALL, "maxProperties": 2},
}

TREE: dict[str, Any] = {
    "$defs": {
        "node": closed(value=SMALL, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
    },
    "$ref": "#/$defs/node",
}


class Loaded:
    def __init__(self, folder: Path) -> None:
        self.model, self.tokenizer = load(str(folder))[:2]
        self.eos = sorted(self.tokenizer.eos_token_ids)
        self.grammars = Grammars(self.tokenizer, WIDTH, self.eos)

    def matcher(self, constraint: Constraint, thinking: Any = "none") -> Matcher:
        return self.grammars.compile(constraint).matcher(thinking)

    def generate(self, matchers: list[Matcher | None], tokens: int = 600) -> list[str]:
        """What the model says at temperature 1 in one batch, "…" behind what did not end."""
        generator = BatchGenerator(self.model, stop_tokens=[[token] for token in self.eos])
        prompts = [
            self.tokenizer.encode(f"<|im_start|>user\nNumber {i}") for i in range(len(matchers))
        ]
        uids = generator.insert(
            prompts,
            [tokens] * len(matchers),
            samplers=[make_sampler(temp=1.0)] * len(matchers),
            logits_processors=[[Processor(self, one)] if one else [] for one in matchers],
        )
        found: dict[int, list[int]] = {uid: [] for uid in uids}
        reasons: dict[int, str] = {}
        while responses := generator.next_generated():
            for response in responses:
                if response.finish_reason != "stop":
                    found[response.uid].append(response.token)
                reasons[response.uid] = response.finish_reason
        return [
            self.tokenizer.decode(found[uid]) + ("" if reasons[uid] == "stop" else "…")
            for uid in uids
        ]

    def tokens(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))


class Processor:
    """A matcher as mlx-lm's generator takes it: called with all tokens so far."""

    def __init__(self, loaded: Loaded, matcher: Matcher) -> None:
        self.matcher = matcher
        self.bits = loaded.grammars.bits(1)
        self.seen = 0

    def __call__(self, context: mx.array, logits: mx.array) -> mx.array:
        if self.seen:
            for token in context[self.seen :].tolist():
                self.matcher.consume(token)
        self.seen = context.size
        self.matcher.fill(self.bits[0])
        return mask(logits, self.bits)


@pytest.fixture(scope="module")
def plain(text_model: Path) -> Loaded:
    return Loaded(text_model)


@pytest.fixture(scope="module")
def thinking(thinking_model: Path) -> Loaded:
    return Loaded(thinking_model)


def schema(value: Any) -> Constraint:
    return Constraint("json_schema", json.dumps(value))


def allowed(loaded: Loaded, matcher: Matcher) -> set[int]:
    bits = loaded.grammars.bits(1)
    matcher.fill(bits[0])
    flags = np.unpackbits(bits.view(np.uint8), axis=-1, bitorder="little")[0]
    return {int(token) for token in np.flatnonzero(flags)}


def walk(loaded: Loaded, matcher: Matcher, seed: int, steps: int = 2000) -> str:
    """The text of tokens drawn evenly among those allowed."""
    random, found = np.random.default_rng(seed), []
    for _ in range(steps):
        token = int(random.choice(sorted(allowed(loaded, matcher))))
        matcher.consume(token)
        if token in loaded.eos:
            break
        found.append(token)
    return str(loaded.tokenizer.decode(found))


def check(text: str, wanted: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(text), wanted, jsonschema.Draft202012Validator)
    if wanted.get("format") == "date":  # its form; that there is such a day is not enforced
        assert re.fullmatch(r"\d{4}-[01]\d-[0-3]\d", json.loads(text))
    if wanted.get("format") == "uuid":
        uuid.UUID(json.loads(text))


# -- what comes out -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_a_random_model_says_is_valid(plain: Loaded, seed: int) -> None:
    mx.random.seed(seed)
    matchers = [plain.matcher(schema(one)) for one in SCHEMAS.values()]
    for (title, wanted), text in zip(SCHEMAS.items(), plain.generate(matchers), strict=True):
        check(text, wanted)
        assert "\n" not in text, title
    assert all(matcher.is_finished and not matcher.failure for matcher in matchers)


@pytest.mark.parametrize("title", [*SCHEMAS, "recursion"])
def test_so_is_whatever_is_drawn_evenly(plain: Loaded, title: str) -> None:
    wanted = SCHEMAS.get(title, TREE)
    for seed in range(5):
        check(walk(plain, plain.matcher(schema(wanted)), seed), wanted)


def test_a_pattern_too_hard_to_follow_ends_the_row_and_raises_nothing(
    plain: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "LIMITS", LLParserLimits(step_lexer_fuel=3000))
    bomb = {"type": "string", "pattern": "^(a|b|ab|ba){1,5000}(.{1,500}x){1,300}$"}
    matcher = Grammars(plain.tokenizer, WIDTH, plain.eos).compile(schema(bomb)).matcher()
    walk(plain, matcher, 1)
    assert matcher.is_finished and matcher.failure
    assert allowed(plain, matcher) == set(plain.eos)


def test_any_object_a_pattern_and_two_kinds_of_grammar(plain: Loaded) -> None:
    mx.random.seed(4)
    constraints = [
        Constraint("regex", r"^(\d{4})-(\d\d)/[a-f]+\$$"),
        Constraint("grammar", 'start: "yes" | "no" ("," /[0-9]/)+'),
        Constraint("grammar", 'root ::= "a" root | "b"'),
        Constraint("json_object"),
    ]
    texts = plain.generate([plain.matcher(one) for one in constraints], tokens=1500)
    assert re.fullmatch(r"\d{4}-\d\d/[a-f]+\$", texts[0])
    assert re.fullmatch(r"yes|no(,\d)+", texts[1])
    assert re.fullmatch(r"a*b", texts[2])
    assert isinstance(json.loads(texts[3]), dict) if texts[3][-1] != "…" else texts[3][0] == "{"


def test_free_rows_beside_constrained_ones_are_free(plain: Loaded) -> None:
    mx.random.seed(5)
    texts = plain.generate([None, plain.matcher(schema(PERSON)), None], tokens=60)
    jsonschema.validate(json.loads(texts[1]), PERSON)
    assert not texts[0].startswith("{")


# -- thoughts -------------------------------------------------------------------------------------


def think_then(loaded: Loaded, mode: str, thought: list[int]) -> Matcher:
    matcher = loaded.matcher(schema(PERSON), mode)
    for token in thought:
        assert token in allowed(loaded, matcher)
        matcher.consume(token)
    return matcher


def test_an_open_thought_is_free_and_the_grammar_follows(thinking: Loaded) -> None:
    matcher = think_then(thinking, "open", thinking.tokens("Well, {x} is"))
    assert matcher.is_free and not matcher.is_complete
    assert allowed(thinking, matcher).isdisjoint(thinking.eos)
    matcher = think_then(thinking, "open", thinking.tokens("Well, {x} is</think>"))
    assert not matcher.is_free
    text = "".join(thinking.tokenizer.decode([token]) for token in allowed(thinking, matcher))
    assert set(text) <= set('{"name\n')
    for token in thinking.tokens('\n{"name":"Ada","age":36}'):
        matcher.consume(token)
    assert matcher.is_complete and not matcher.failure


def test_a_model_may_open_its_thought_or_answer_at_once(thinking: Loaded) -> None:
    (start,) = thinking.tokens("<think>")
    assert start in allowed(thinking, thinking.matcher(schema(PERSON), "may"))
    assert start not in allowed(thinking, thinking.matcher(schema(PERSON)))
    assert think_then(thinking, "may", [start]).is_free
    answered = think_then(thinking, "may", thinking.tokens('{"name'))
    assert not answered.is_free and start not in allowed(thinking, answered)


def test_markers_of_several_tokens_open_and_close_a_thought(plain: Loaded) -> None:
    tokenizer = plain.tokenizer
    start, end = tuple(plain.tokens("<t>")), tuple(plain.tokens("</t>"))
    assert len(start) > 1 and len(end) > 1
    tokenizer._think_start_tokens, tokenizer._think_end_tokens = start, end
    try:
        loaded = Grammars(tokenizer, WIDTH, plain.eos).compile(schema(PERSON))
    finally:
        tokenizer._think_start_tokens = tokenizer._think_end_tokens = None
    matcher = loaded.matcher("may")
    matcher.consume(start[0])
    assert allowed(plain, matcher) == {start[1]}
    for token in [*start[1:], *end[:-1], *plain.tokens("x"), *end]:
        matcher.consume(token)
    assert not matcher.is_free
    for token in plain.tokens('{"name":"","age":1}'):
        matcher.consume(token)
    assert matcher.is_complete


def test_behind_a_random_thought_comes_a_valid_answer(thinking: Loaded) -> None:
    for seed in range(5):
        matcher = thinking.matcher(schema(PERSON), "open")
        walk(thinking, matcher, seed, steps=30)
        for token in thinking.tokens("</think>"):
            matcher.consume(token)
        check(walk(thinking, matcher, seed), PERSON)


# -- what is refused ------------------------------------------------------------------------------

UNSUPPORTED = [
    ({"not": {"type": "string"}}, '“not”|"not"'),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"type": "array", "contains": SMALL}, "contains"),
    (closed(a={"if": SMALL, "then": SMALL}), '"if", "then"'),
    ({"type": "object", "propertyNames": NAME}, "propertyNames"),
    ({"oneOf": [NAME, {"type": "string", "minLength": 2}]}, "oneOf"),
    ({"type": "string", "format": "colour"}, "colour"),
    ({"$ref": "https://example.org/schema"}, "another document"),
    ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    ({"not": {}, "x-guidance": {"lenient": True}}, "not"),
]
WRONG = [
    ("{", "not valid JSON"),
    ("[]", "must be an object"),
    ('{"type": "colour"}', "colour"),
    ('{"type": "string", "pattern": "(a"}', "unclosed group"),
    ('{"$ref": "#/$defs/none"}', r"\$defs/none"),
    ('{"enum": []}', "Unsatisfiable"),
    ('{"type": "integer", "minimum": 3, "maximum": 1}', "minimum"),
    ('{"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}', "no answer"),
    (json.dumps({"enum": ["x" * 300_000]}), "larger than 256 KiB"),
    ('{"items":' * 120 + "{}" + "}" * 120, "deeper than 100"),
    ("[" * 100_000, "not valid JSON"),
    (
        json.dumps(
            {"allOf": [{"anyOf": [closed(**{f"p{i}{j}": {}}) for j in range(8)]} for i in range(7)]}
        ),
        "too complex",
    ),
]


@pytest.mark.parametrize(("value", "words"), UNSUPPORTED)
def test_what_cannot_be_enforced_is_named(plain: Loaded, value: Any, words: str) -> None:
    with pytest.raises(Unsupported, match=words) as caught:
        plain.grammars.compile(schema(value))
    assert caught.value.param == "response_format"


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_what_is_no_schema_is_a_bad_request(plain: Loaded, text: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        plain.grammars.compile(Constraint("json_schema", text))
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("regex", "(a"),
        Constraint("regex", r"(a)\1"),
        Constraint("grammar", ""),
        Constraint("grammar", "start: nothing"),
        Constraint("grammar", "root ::= ("),
    ],
    ids=lambda one: f"{one.kind} {one.text}",
)
def test_patterns_and_grammars_that_are_none_are_refused(
    plain: Loaded, constraint: Constraint
) -> None:
    with pytest.raises(BadRequest, match=constraint.kind.replace("regex", "regular")):
        plain.grammars.compile(constraint)


def test_a_schema_is_compiled_once_and_few_are_kept(plain: Loaded) -> None:
    grammars = Grammars(plain.tokenizer, WIDTH, plain.eos)
    first = grammars.compile(schema(PERSON))
    assert grammars.compile(schema(PERSON)) is first
    for number in range(80):
        grammars.compile(schema({"const": number}))
    assert grammars.compile(schema(PERSON)) is not first


def test_many_threads_may_compile_while_rows_go_on(plain: Loaded) -> None:
    grammars = Grammars(plain.tokenizer, WIDTH, plain.eos)
    wanted = list(SCHEMAS.values())
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(grammars.compile, [schema(one) for one in wanted * 4]))
        texts = list(threads.map(lambda one: walk(plain, one.matcher(), 1), made))
    assert len(set(map(id, made))) == len(wanted)
    for text, one in zip(texts, wanted * 4, strict=True):
        check(text, one)


# -- a matcher ------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [0, 507, 511, 512, 100_000, -1])
def test_a_wrong_token_ends_the_row_and_raises_nothing(plain: Loaded, token: int) -> None:
    matcher = plain.matcher(schema(PERSON))
    assert token not in allowed(plain, matcher)
    for _ in range(3):
        matcher.consume(token)
        assert allowed(plain, matcher) == set(plain.eos)
    assert matcher.is_finished and matcher.failure and not matcher.is_complete


def test_after_its_end_only_the_end_of_the_turn_is_allowed(plain: Loaded) -> None:
    matcher = plain.matcher(schema({"const": 1}))
    for token in [*plain.tokens("1"), plain.eos[0], plain.eos[0]]:
        matcher.consume(token)
        assert allowed(plain, matcher) == set(plain.eos)
    assert matcher.is_finished and not matcher.failure


def test_replays_and_copies_stand_where_the_first_one_stood(plain: Loaded) -> None:
    tokens = plain.tokens('{"name":"Ada","age":')
    first, second = plain.matcher(schema(PERSON)), plain.matcher(schema(PERSON))
    for token in tokens:
        first.consume(token)
    second.consume(5)  # a failed one can be replayed too
    second.replay(tokens)
    other = first.copy()
    assert allowed(plain, first) == allowed(plain, second) == allowed(plain, other)
    other.consume(plain.tokens("7")[0])
    assert allowed(plain, first) == allowed(plain, second) != allowed(plain, other)


# -- masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [512, 544, 550])
def test_masks_in_a_batch_are_the_masks_alone(plain: Loaded, width: int) -> None:
    grammars = Grammars(plain.tokenizer, width, plain.eos)
    logits = mx.random.normal((len(SCHEMAS) + 1, width))
    bits = grammars.bits(len(SCHEMAS) + 1)
    for row, value in zip(bits, SCHEMAS.values(), strict=False):
        grammars.compile(schema(value)).matcher().fill(row)
    together = np.array(mask(logits, bits))
    for index in range(len(SCHEMAS)):
        alone = np.array(mask(logits[index : index + 1], bits[index : index + 1]))
        assert np.array_equal(together[index], alone[0])
        assert np.isfinite(alone).any() and np.isinf(alone[0, 512:]).all()
    assert np.array_equal(together[-1], np.array(logits)[-1])
    some = np.array(mask(logits, bits[[4, 2]], rows=[4, 2]))
    assert np.array_equal(some[[2, 4]], together[[2, 4]])
    assert np.array_equal(some[[0, 1, 3]], np.array(logits)[[0, 1, 3]])


def test_a_model_with_fewer_logits_than_tokens_gets_masks_of_its_width(plain: Loaded) -> None:
    grammars = Grammars(plain.tokenizer, 470, [3])
    bits = grammars.bits(1)
    matcher = grammars.compile(schema(PERSON)).matcher()
    matcher.fill(bits[0])
    masked = np.array(mask(mx.zeros((1, 470)), bits))
    assert masked.shape == (1, 470) and np.isfinite(masked).any()
    with pytest.raises(Unsupported):  # its end of turn is beyond
        Grammars(plain.tokenizer, 470, plain.eos).compile(schema(PERSON))


def test_half_precision_stays_half_precision(plain: Loaded) -> None:
    for kind in (mx.float16, mx.bfloat16):
        assert mask(mx.zeros((2, WIDTH), kind), plain.grammars.bits(2)).dtype == kind
