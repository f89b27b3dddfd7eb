"""tool_choice "required" or a name: a grammar that leaves the model nothing but well-formed calls.

Schemas of tools are taken leniently: what cannot be enforced in them is not enforced, and the call
is well-formed all the same.
"""

import json
import re
from typing import Any

from llguidance import regex_to_lark

from mlxgui.engine.backends.grammar import Grammars
from mlxgui.engine.backends.grammar_text import COMPACT, parsed_schema, without_anchors
from mlxgui.engine.backends.tool_writings import WRITINGS, Parameters, Writing
from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import Constraint, Tool

PARAM = "tool_choice"
SPACED = {**COMPACT, "item_separator": ", ", "key_separator": ": ", "lenient": True}
PYTHON = {**SPACED, "json_allowed_escapes": 'nrtbf\\"'}
"""JSON that Python reads as the same value."""


def tool_constraint(
    grammars: Grammars,
    tokenizer: Any,
    tools: list[Tool],
    choice: str,
    *,
    parallel: bool = True,
    otherwise: Constraint | None = None,
) -> Constraint:
    """A grammar of the calls that `choice` asks for, to be compiled with `param="tool_choice"`.

    Args:
        choice: "required", "auto" (only with `otherwise`) or the name of a tool, called once.
        parallel: whether several calls may be written.
        otherwise: with "auto", what the answer must be when it is no call.
    """
    family = family_of(tokenizer)
    if family not in WRITINGS:
        raise Unsupported(
            f"Calls cannot be required of this model: its way of writing them"
            f" ({family or 'none is known'}) has no grammar here.",
            param=PARAM,
        )
    named = choice not in ("required", "auto")
    chosen = [tool for tool in tools if tool.name == choice] if named else tools
    if not chosen:
        wanted = f"names “{choice}”, which is not among" if named else "needs at least one of"
        raise BadRequest(f"tool_choice {wanted} the tools.", param=PARAM)
    rules = _Rules(grammars, tokenizer, WRITINGS[family], family)
    return Constraint("grammar", rules.text(chosen, parallel and not named, otherwise))


def family_of(tokenizer: Any) -> str:
    """The name of mlx-lm's parser for this model; mistral's two ways told apart."""
    family = str(tokenizer.init_kwargs.get("tool_parser_type") or "")
    if family == "mistral" and "[ARGS]" not in tokenizer.get_vocab():
        return "mistral_list"
    return family


class _Rules:
    """Writes the Lark text. Every rule gets a number of its own."""

    def __init__(self, grammars: Grammars, tokenizer: Any, writing: Writing, family: str) -> None:
        self.writing = writing
        self.family = family
        self.lines: list[str] = []
        self._roots: dict[str, Any] = {}
        added = {token.content: id for id, token in tokenizer.added_tokens_decoder.items()}
        self._special = {text: id for text, id in added.items() if grammars.is_special(id)}
        longest = sorted(self._special, key=len, reverse=True)
        self._split = re.compile("|".join(map(re.escape, longest)) or r"(?!)")

    def text(self, tools: list[Tool], several: bool, otherwise: Constraint | None) -> str:
        writing = self.writing
        call = self.rule(" | ".join(self.rule(self._call(tool)) for tool in tools))
        more = f"({self.literal(writing.between)} {call})*" if several else ""
        calls = f"{self.literal(writing.first)} {call} {more} {self.literal(writing.last)}"
        start = f"{self.rule(calls)} | {self._answer(otherwise)}" if otherwise else calls
        return "\n".join([f"start: {start}", *self.lines, ""])

    def rule(self, body: str) -> str:
        name = f"r{len(self.lines)}"
        self.lines.append(f"{name}: {body}")
        return name

    def literal(self, text: str) -> str:
        """Text as the grammar wants it: special tokens by number, the rest quoted."""
        parts, end = [], 0
        for found in self._split.finditer(text):
            parts += [_quoted(text[end : found.start()]), f"<[{self._special[found[0]]}]>"]
            end = found.end()
        return " ".join(part for part in [*parts, _quoted(text[end:])] if part)

    def _answer(self, otherwise: Constraint) -> str:
        match otherwise.kind:
            case "json_object":
                return self.rule(_json({"type": "object"}, COMPACT))
            case "json_schema":
                return self.rule(_json(parsed_schema(otherwise.text, "response_format"), COMPACT))
            case "regex":
                return self.rule(f"/{regex_to_lark(without_anchors(otherwise.text))}/")
        raise Unsupported("A grammar cannot be combined with tools.", param="response_format")

    def _call(self, tool: Tool) -> str:
        name = json.dumps(tool.name, ensure_ascii=False)[1:-1]
        head, _, tail = self.writing.call.replace("«name»", name).partition("«arguments»")
        return f"{self._numbered(head)} {self._arguments(tool)} {self.literal(tail)}"

    def _numbered(self, text: str) -> str:
        before, mark, after = text.partition("«number»")
        return f"{self.literal(before)} {'/[0-9]{1,3}/' if mark else ''} {self.literal(after)}"

    def _arguments(self, tool: Tool) -> str:
        schema = {"type": "object", **tool.parameters}
        if self.writing.parameters is None:
            if schema.get("properties"):
                schema.setdefault("additionalProperties", False)
            return self.rule(_json(schema, SPACED))
        self._roots = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        return self._members(schema, self.writing.parameters)

    def _members(self, schema: dict[str, Any], how: Parameters) -> str:
        """The properties in their order, each left out at will unless it is required."""
        required = set(schema.get("required") or ())
        members = [
            (self.rule(self._member(key, value, how)), key in required)
            for key, value in (schema.get("properties") or {}).items()
        ]
        if not how.between:
            return " ".join(name if needed else f"{name}?" for name, needed in members)
        return self._separated(members, self.literal(how.between))

    def _separated(self, members: list[tuple[str, bool]], between: str) -> str:
        """From the last member to the first: what follows one, and what may stand alone."""
        follow = head = self.rule('""')
        for name, needed in reversed(members):
            alone = f"{name} {follow}"
            after = f"{between} {alone}"
            head = self.rule(alone if needed else f"{alone} | {head}")
            follow = self.rule(after if needed else f"{after} | {follow}")
        return head

    def _member(self, key: str, schema: Any, how: Parameters) -> str:
        schema = self._resolved(schema)
        kind = "string" if _is_text(schema) else str(schema.get("type", "object"))
        template = how.template.replace("«key»", key).replace("«type»", kind)
        head, _, tail = template.partition("«value»")
        return f"{self.literal(head)} {self._value(schema, how, tail)}"

    def _value(self, schema: Any, how: Parameters, tail: str) -> str:
        """A value with what closes it: free text must know its end."""
        if _is_text(schema) and not how.json_strings:
            return self._text(schema, how, f"{how.quote}{tail}")
        return f"{self._structured(schema, how)} {self.literal(tail)}"

    def _structured(self, schema: dict[str, Any], how: Parameters) -> str:
        nested = schema.get("type") in ("object", "array")
        if nested and how.flat:
            raise Unsupported(
                f"Calls with lists or objects cannot be required of this model ({self.family}).",
                param=PARAM,
            )
        if nested and how.bare_keys:
            return self._bare(schema, how)
        return self.rule(_json({**self._roots, **schema}, PYTHON if how.json_strings else SPACED))

    def _bare(self, schema: dict[str, Any], how: Parameters) -> str:
        between = self.literal(how.between)
        if schema["type"] == "object":
            return f'"{{" {self._members(schema, how)} "}}"'
        item = self.rule(self._value(self._resolved(schema.get("items", {})), how, ""))
        return self.rule(f'"[" ({item} ({between} {item})*)? "]"')

    def _text(self, schema: dict[str, Any], how: Parameters, closing: str) -> str:
        opening = self.literal(how.quote)
        if choices := _choices(schema):
            options = " | ".join(_quoted(str(value)) or '""' for value in choices)
            return f"{opening} ({options}) {self.literal(closing)}"
        special = self._split.search(closing)
        if special is None:  # the text goes up to where the closing mark first appears
            name = self.rule(f"/{how.free_text}/")
            self.lines[-1] = self.lines[-1].replace(":", f"[suffix={_quoted(closing)}]:", 1)
            return f"{opening} {name}"
        return f"{opening} /{how.free_text}/ {self.literal(closing[special.start() :])}"

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """Behind a reference into the tool's own definitions; anything for what is no schema."""
        for _ in range(16):
            found = re.fullmatch(r"#/(\$defs|definitions)/([^/]+)", str(_get(schema, "$ref")))
            if found is None:
                break
            schema = self._roots.get(found[1], {}).get(found[2])
        return schema if isinstance(schema, dict) else {}


def _get(schema: Any, key: str) -> Any:
    return schema.get(key) if isinstance(schema, dict) else None


def _is_text(schema: dict[str, Any]) -> bool:
    """Whether the family writes the value as text, not as JSON."""
    kinds = schema.get("type")
    if choices := _choices(schema):
        return all(isinstance(value, str) for value in choices)
    return kinds == "string" or (isinstance(kinds, list) and "string" in kinds)


def _choices(schema: dict[str, Any]) -> list[Any]:
    return list(schema.get("enum") or ([schema["const"]] if "const" in schema else []))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""


def _json(schema: dict[str, Any], options: Any) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": options}, ensure_ascii=False)
