"""What dialects of tasks share: a request that was understood, and what answers it.

A task's dialect is a module too. Where a form comes instead of JSON, its fields and files are
strings and bytes by name.
"""

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.tasks import AskedTask
from mlxgui.engine.types import Done, Event, Usage
from mlxgui.wire import Encoder
from mlxgui.wire.fields import located

Form = dict[str, list[str | bytes]]
"""A multipart form: all values by name, in order. Files are bytes."""


class Stream(Struct):
    """How a call wants to be answered piece by piece."""

    encoder: Encoder
    content_type: str


class ParsedTask(Struct, kw_only=True):
    """One call, understood."""

    model: str
    request: AskedTask
    stream: Stream | None = None
    warnings: list[str] = []
    options: Any = None
    """What only the dialect's own answer needs."""


class Answer(Struct):
    """A whole answer."""

    body: bytes
    content_type: str = "application/json"


class TaskDialect[Given](Protocol):
    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of models that answer here."""

    @property
    def given(self) -> type[Struct]:
        """Every field that is known."""

    def parse(self, given: Given) -> ParsedTask:
        """From the body of a JSON request, or from a `Form`. Raises BadRequest."""

    def complete(self, parsed: ParsedTask, events: list[Event]) -> Answer: ...


def usage_of(events: list[Event]) -> Usage:
    last = events[-1] if events else None
    return last.usage if isinstance(last, Done) else Usage()


def from_form[T: Struct](struct: type[T], form: Form) -> tuple[T, list[str]]:
    """The form as a Struct, and the names that it does not know. Numbers are written as text;
    `name[]` is a list. Raises BadRequest naming the field."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    values: dict[str, Any] = {}
    unknown = []
    for name, found in form.items():
        plain = name.removesuffix("[]")
        if plain not in fields:
            unknown.append(name)
        elif _is_list(fields[plain].type):
            values.setdefault(plain, []).extend(found)
        elif len(found) > 1:
            raise BadRequest(f"“{plain}” is given {len(found)} times.", param=plain)
        elif found[0] != "":  # what a person left empty was not given
            values[plain] = found[0]
    return _converted(struct, values), sorted(unknown)


def _is_list(type: Any) -> bool:
    return "list[" in str(type)


def _converted[T: Struct](struct: type[T], values: dict[str, Any]) -> T:
    try:
        return msgspec.convert(values, struct, strict=False)
    except msgspec.ValidationError as error:
        raise located(error) from None
