"""A chat template is a program from outside. It is read here, never run."""

from pathlib import Path
from typing import Any

from models_app.inspection.facts import BrokenFolder
from models_app.inspection.files import read_bytes, read_object

LONGEST = 1 << 20
WAY_OUT = "Download the tokenizer's files again, or use another conversion of the model."


def check_templates(folder: Path) -> None:
    """Raises BrokenFolder for a template that is no valid Jinja, or that reaches into Python."""
    for file, text in templates(folder):
        if len(text) > LONGEST:
            raise BrokenFolder(f"The chat template in {file} is too long to be one. {WAY_OUT}")
        try:
            _check(file, text)
        except RecursionError:
            raise BrokenFolder(f"The chat template in {file} is nested too deeply.") from None


def templates(folder: Path) -> list[tuple[str, str]]:
    """(file, template) of each that the folder has."""
    found = []
    if data := read_bytes(folder / "chat_template.jinja"):
        found.append(("chat_template.jinja", data.decode(errors="replace")))
    for name in ("chat_template.json", "tokenizer_config.json"):
        value = read_object(folder / name).get("chat_template")
        found += [(name, text) for text in _texts(value)]
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [
            text
            for item in value
            if isinstance(item, dict)
            for text in _texts(item.get("template"))
        ]
    return [value] if isinstance(value, str) else []


def _check(file: str, text: str) -> None:
    from jinja2 import TemplateSyntaxError, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment, is_internal_attribute

    environment = ImmutableSandboxedEnvironment(
        extensions=[_generation(), "jinja2.ext.loopcontrols"]
    )
    try:
        tree = environment.parse(text)
    except TemplateSyntaxError as error:
        raise BrokenFolder(
            f"The chat template in {file} is damaged: {error.message} in line {error.lineno}. "
            f"{WAY_OUT}"
        ) from None
    names = [node.attr for node in tree.find_all(nodes.Getattr)]
    for item in tree.find_all(nodes.Getitem):
        if isinstance(item.arg, nodes.Const) and isinstance(item.arg.value, str):
            names.append(item.arg.value)
    for name in names:
        if name.startswith("__") or is_internal_attribute(None, name):
            raise BrokenFolder(
                f"The chat template in {file} reaches into Python itself (“{name[:40]}”), which "
                f"no honest template does. Nothing of it was run. {WAY_OUT}"
            )


def _generation() -> type:
    """The one tag that Hugging Face adds to Jinja: {% generation %} marks the assistant's words."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    return Generation
