"""The rules that keep the house in order.

Which room may import which; an import points downward, never up, and siblings never meet:

    top      mlxgui.asgi, mlxgui.urls
               chat_app      training_app
                      models_app
               mlxgui.system, mlxgui.api, mlxgui.pages, mlxgui.runtime, mlxgui.openapi
               mlxgui.jobs (Django)     mlxgui.wire (pure)
    bottom            mlxgui.engine (pure)

mlx and what comes with it is imported only where a child process runs it: engine/backends and
engine/jobs. That the web process really stays free of it is seen in tests/system/test_serve.py.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mlxgui.system.definitions import DEFINITIONS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mlxgui", "models_app", "chat_app", "training_app")
OURS = sorted(
    path
    for name in PACKAGES
    for path in (ROOT / name).rglob("*.py")
    if "migrations" not in path.parts
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LEVELS = {
    "mlxgui.asgi": 6,
    "mlxgui.urls": 6,
    "mlxgui.settings": 6,
    "chat_app": 5,
    "training_app": 5,
    "models_app": 4,
    "mlxgui.system": 3,
    "mlxgui.api": 3,
    "mlxgui.pages": 3,
    "mlxgui.openapi": 3,
    "mlxgui.runtime": 3,
    "mlxgui.jobs": 2,
    "mlxgui.wire": 2,
    "mlxgui.engine": 1,
    "mlxgui.home": 0,
}
TOGETHER = {
    "mlxgui.system", "mlxgui.api", "mlxgui.pages", "mlxgui.runtime", "mlxgui.openapi",
}  # fmt: skip
"""One level that is one room: the server itself."""

HEAVY = {
    "mlx", "mlx_lm", "mlx_vlm", "mlx_audio", "transformers", "tokenizers", "safetensors", "numpy",
    "torch", "llguidance", "huggingface_hub",
}  # fmt: skip
WHERE_HEAVY = ("mlxgui/engine/backends/", "mlxgui/engine/cache/", "mlxgui/engine/jobs/")
HUB = "models_app/hub.py"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Full names of what a file imports, wherever in it."""
    found: list[str] = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def room_of(module: str) -> str | None:
    rooms = [room for room in LEVELS if module == room or module.startswith(f"{room}.")]
    return max(rooms, key=len) if rooms else None


def module_of(path: Path) -> str:
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(path: Path) -> int:
    return path.read_text().count("\n")


# -- rooms ----------------------------------------------------------------------------------------


def test_every_file_belongs_to_a_room() -> None:
    homeless = [name_of(path) for path in OURS if room_of(module_of(path)) is None]
    assert homeless == ["mlxgui/__init__.py"]


def test_imports_point_downward() -> None:
    wrong = []
    for path in OURS:
        here = room_of(module_of(path))
        for module in imports_of(path):
            there = room_of(module)
            if here is None or there is None or here == there or {here, there} <= TOGETHER:
                continue
            if LEVELS[there] >= LEVELS[here]:
                wrong.append(f"{name_of(path)} imports {module}")
    assert wrong == []


def test_engine_and_wire_know_nothing_of_the_web() -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in OURS
        if name_of(path).startswith(("mlxgui/engine/", "mlxgui/wire/"))
        for module in imports_of(path)
        if module.split(".")[0] in ("django", "channels", "daphne", "twisted", "asgiref")
    ]
    assert wrong == []


def test_wire_knows_only_the_types_and_errors_of_the_engine() -> None:
    allowed = (
        "mlxgui.wire", "mlxgui.engine.types", "mlxgui.engine.tasks", "mlxgui.engine.errors",
    )  # fmt: skip
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in OURS
        if name_of(path).startswith("mlxgui/wire/")
        for module in imports_of(path)
        if module.startswith("mlxgui.") and not module.startswith(allowed)
    ]
    assert wrong == []


def test_mlx_is_imported_only_where_children_run() -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in OURS
        if not name_of(path).startswith(WHERE_HEAVY)
        for module in imports_of(path)
        if module.split(".")[0] in HEAVY
        and not (name_of(path) == HUB and module.startswith("huggingface_hub"))
    ]
    assert wrong == []


def test_views_are_imported_by_their_own_addresses_only() -> None:
    doors = re.compile(
        r"^(chat_app|models_app|training_app|mlxgui\.system)\.(views|api|consumers)\b"
    )
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in OURS
        if path.name not in ("urls.py", "api_urls.py", "routing.py")
        for module in imports_of(path)
        if doors.match(module)
    ]
    assert wrong == []


# -- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("paths", "cap"), [(OURS, 300), (TESTS, 600)], ids=["own", "tests"])
def test_files_are_short(paths: list[Path], cap: int) -> None:
    assert [(name_of(path), lines_of(path)) for path in paths if lines_of(path) > cap] == []


def test_functions_are_short() -> None:
    sizes = {
        f"{name_of(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in OURS
        for node in functions_of(path)
    }
    assert {name: size for name, size in sizes.items() if size > 50} == {}
    assert sorted(sizes.values())[len(sizes) // 2] <= 8


def test_views_fit_on_a_screen() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in OURS
        if path.name in ("views.py", "api.py") and path.parent.name != "mlxgui"
        for node in functions_of(path)
        if (node.end_lineno or 0) - node.lineno + 1 > 25
    ]
    assert long == []


def test_templates_and_scripts_are_short() -> None:
    templates = (ROOT / "templates").rglob("*.html")
    scripts = {name_of(path): lines_of(path) for path in (ROOT / "static" / "js").rglob("*.js")}
    assert [name_of(path) for path in templates if lines_of(path) > 120] == []
    assert [name for name, lines in scripts.items() if lines > 100] == []
    assert sum(scripts.values()) <= 600


# -- words ----------------------------------------------------------------------------------------


def test_no_file_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "helpers", "services", "manager", "common", "misc"}
    assert [name_of(path) for path in OURS + TESTS if path.stem in empty] == []


def test_every_signature_has_its_types() -> None:
    untyped = []
    for path in OURS + TESTS:
        for node in functions_of(path):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            extra = [one for one in (node.args.vararg, node.args.kwarg) if one]
            bare = [
                one.arg
                for one in arguments + extra
                if one.annotation is None and one.arg not in ("self", "cls")
            ]
            if bare or node.returns is None:
                untyped.append(f"{name_of(path)}:{node.lineno} {node.name} {bare}")
    assert untyped == []


def test_only_commands_and_jobs_print() -> None:
    prints = [
        f"{name_of(path)}:{node.lineno}"
        for path in OURS
        if "commands" not in path.parts and "jobs" not in path.parts
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert prints == []


def test_pages_need_no_inline_script_or_style() -> None:
    """The policy of the pages would drop them without a word."""
    inline = re.compile(
        r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|href=.javascript:", re.I
    )
    wrong = [
        f"{name_of(path)}: {match.group()}"
        for path in (ROOT / "templates").rglob("*.html")
        for match in inline.finditer(path.read_text())
    ]
    assert wrong == []


# -- documents ------------------------------------------------------------------------------------


@cache
def documents() -> str:
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(path.read_text() for path in files)


def test_every_setting_is_documented_with_its_default() -> None:
    for key, definition in DEFINITIONS.items():
        default = definition.default
        shown = str(default).lower() if isinstance(default, bool) else str(default) or "empty"
        assert f"| `{key}` | {shown} |" in documents(), key


def test_every_environment_variable_is_documented() -> None:
    named = {
        name
        for path in OURS
        for name in re.findall(r"\bMLX_GUI_[A-Z_]*[A-Z]\b|\b[A-Z]+_URL\b", path.read_text())
    }
    assert {"MLX_GUI_HOME", "MLX_GUI_PORT", "REDIS_URL"} <= named
    assert [
        name for name in sorted(named - {"STATIC_URL", "LOGIN_URL"}) if name not in documents()
    ] == []
