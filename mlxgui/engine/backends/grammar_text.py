"""From a constraint to the text that llguidance compiles, and from its refusals to plain words."""

import json
import re
from typing import TYPE_CHECKING, Any

from llguidance import LLMatcher, grammar_from

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import Constraint

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

MAX_BYTES = 256 * 1024
MAX_DEPTH = 100
"""Levels of lists and objects; llguidance itself stops at 128."""

COMPACT: "JsonCompileOptions" = {
    # With free whitespace a small or hot model pads until its tokens run out.
    "whitespace_flexible": False,
    "item_separator": ",",
    "key_separator": ":",
    "lenient": False,
}

NAMES = {
    "json_object": "JSON object",
    "json_schema": "JSON schema",
    "regex": "regular expression",
    "grammar": "grammar",
}


def source_of(constraint: Constraint, param: str) -> str:
    """Raises BadRequest for a text that is too large or cannot be read."""
    if len(constraint.text.encode()) > MAX_BYTES:
        raise BadRequest(
            f"The {NAMES[constraint.kind]} is larger than {MAX_BYTES // 1024} KiB.", param=param
        )
    try:
        match constraint.kind:
            case "json_object":
                return _schema({"type": "object"})
            case "json_schema":
                return _schema(parsed_schema(constraint.text, param))
            case "regex":
                return str(LLMatcher.grammar_from_regex(without_anchors(constraint.text)))
        return _grammar(constraint.text)
    except ValueError as error:
        raise why_refused(str(error), constraint, param) from error


def _schema(schema: dict[str, Any]) -> str:
    # Overrides, not defaults: else the schema's own "x-guidance" could switch the rules off.
    return str(LLMatcher.grammar_from_json_schema(schema, overrides=COMPACT))


def _grammar(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return str(grammar_from("grammar", text))


def without_anchors(pattern: str) -> str:
    """The whole answer must match anyway; written anchors are not understood by the library."""
    pattern = pattern.removeprefix("^")
    ends_escaped = re.search(r"(\\+)\$$", pattern)
    if pattern.endswith("$") and not (ends_escaped and len(ends_escaped[1]) % 2):
        pattern = pattern[:-1]
    return pattern


def parsed_schema(text: str, param: str) -> dict[str, Any]:
    """The schema as a dict, within the bounds of depth."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The JSON schema is not valid JSON: {error}", param=param) from error
    if not isinstance(schema, dict):
        raise BadRequest("The JSON schema must be an object.", param=param)
    if depth_of(schema) > MAX_DEPTH:
        raise BadRequest(f"The JSON schema is nested deeper than {MAX_DEPTH} levels.", param=param)
    return schema


def depth_of(value: Any) -> int:
    """Levels of lists and dicts, without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            item for node in level for item in (node.values() if isinstance(node, dict) else node)
        ]
    return depth


_FEATURES: list[tuple[str, str]] = [
    (r"Unimplemented keys: \[(?P<what>.*)\]", "uses {what}"),
    (r"Unknown format: (?P<what>.*)", "uses the string format “{what}”"),
    (r"oneOf constraints are not supported", "uses “oneOf” with alternatives that overlap"),
    (r"Resource '(?P<what>[^']*)' is not present", "refers to “{what}”, another document"),
    (r"(?P<what>look-around|backreferences).* not supported", "uses {what} in a pattern"),
]


def _name(constraint: Constraint, param: str) -> str:
    """What the client calls it: a grammar of calls is ours, the tools' schemas in it are not."""
    return "schema of a tool" if param == "tool_choice" else NAMES[constraint.kind]


TOO_MUCH = re.compile(r"too (large|many|complex|big)|[Ll]imit|fuel")


def why_refused(message: str, constraint: Constraint, param: str) -> BadRequest:
    """The exception that says it: Unsupported with the feature's name, or BadRequest."""
    name = _name(constraint, param)
    for pattern, words in _FEATURES:
        if found := re.search(pattern, message):
            feature = words.format(**found.groupdict())
            return Unsupported(f"The {name} {feature}, which cannot be enforced.", param=param)
    if TOO_MUCH.search(message):
        return BadRequest(f"The {name} is too complex to be enforced.", param=param)
    if "NoExtension" in message:
        return BadRequest(f"The {name} allows no answer at all.", param=param)
    return BadRequest(f"The {name} is not valid: {_gist(message)}", param=param)


def why_it_gave_out(message: str, constraint: Constraint, param: str) -> BadRequest:
    """The same for one that was compiled, and could not be followed to its end."""
    if TOO_MUCH.search(message):
        return why_refused(message, constraint, param)
    name = _name(constraint, param)
    return BadRequest(
        f"The {name} leads to where no token of this model fits: {_gist(message)}", param=param
    )


def _gist(message: str) -> str:
    """The line that tells what is wrong: parsers of patterns say it last, others first."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()] or ["unknown"]
    errors = [line for line in lines if line.startswith("error:")]
    gist = errors[0].removeprefix("error: ") if errors else lines[0]
    return re.sub(r"^at \d+\(\d+\): failed to compile JSON schema: ", "", gist)[:200]
