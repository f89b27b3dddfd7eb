"""Documents stay true: links lead somewhere, commands exist, the version is one."""

import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from mlxgui.system.definitions import DEFINITIONS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text()) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony is not None
    for target in phony[1].split():
        assert f"make {target} " in listed


def test_every_make_command_in_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        target
        for path in DOCUMENTS
        for target in re.findall(
            r"(?:`|^    )(?:[A-Z_]+=\S+ )*make ([a-z-]+)", path.read_text(), re.M
        )
    }
    assert {"run", "test"} <= named
    assert [target for target in sorted(named) if f"\n{target}:" not in makefile] == []


def test_the_readme_names_no_setting_that_does_not_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme.split("## Settings")[1].split("##")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(DEFINITIONS)


def test_the_readme_shows_the_present_version() -> None:
    assert f"MLX GUI {settings.VERSION} is ready" in (ROOT / "README.md").read_text()


def test_decisions_are_numbered_without_gaps_and_short() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in files] == list(range(1, len(files) + 1))
    for path in files:
        assert path.read_text().startswith(f"# {int(path.name[:4])}. ")
        assert len(path.read_text().splitlines()) <= 40


def test_requirements_are_exact() -> None:
    """What is installed today is what will be installed tomorrow."""
    for path in [*ROOT.glob("requirements*.txt"), ROOT / "constraints.txt"]:
        for line in path.read_text().splitlines():
            if line and not line.startswith(("#", "-")):
                assert re.match(r"^[\w.-]+(\[\w+\])?==[\w.]+(; .+)?$", line), line
