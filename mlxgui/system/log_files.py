"""The files in the folder of logs: which there are, and the end of one."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from mlxgui.system.logs import SERVER_LOG

TAIL_BYTES = 1 << 18
MOST_LINES = 500
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LEVEL = re.compile(rf"\b({'|'.join(LEVELS)})\b")


class LogFile(Struct, frozen=True):
    name: str
    path: Path
    size_bytes: int
    changed_at: datetime

    @property
    def is_server(self) -> bool:
        return self.name == SERVER_LOG


class Line(Struct, frozen=True):
    """`level` in small letters; a line without one has that of the line before it."""

    text: str
    level: str = ""


class Tail(Struct, frozen=True):
    """The last lines that fit the filter. `is_cut`: there was more."""

    lines: list[Line]
    is_cut: bool
    mark: str
    """Changes when the file does."""


def log_files(folder: Path) -> list[LogFile]:
    """The server's first, then the one written last."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink() and ".log" in path.suffixes:
            facts = path.stat()
            changed = datetime.fromtimestamp(facts.st_mtime, UTC)
            found.append(LogFile(path.name, path, facts.st_size, changed))
    return sorted(found, key=lambda one: (not one.is_server, -one.changed_at.timestamp()))


def find(folder: Path, name: str) -> LogFile | None:
    """Only one that is listed; a name is never made into a path."""
    return next((one for one in log_files(folder) if one.name == name), None)


def tail(file: LogFile, wanted: str = "", level: str = "") -> Tail:
    """Lines that hold `wanted`, whatever its case, and are at least of this level."""
    with file.path.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - TAIL_BYTES))
        text = opened.read().decode(errors="replace")
    lines = with_levels(text.splitlines()[size > TAIL_BYTES :])
    shown = [line for line in lines if fits(line, wanted.casefold(), level)]
    is_cut = size > TAIL_BYTES or len(shown) > MOST_LINES
    return Tail(shown[-MOST_LINES:], is_cut, f"{size}-{int(file.changed_at.timestamp())}")


def with_levels(lines: list[str]) -> list[Line]:
    found: list[Line] = []
    level = ""
    for text in lines:
        named = _LEVEL.search(text[:80])
        level = named[1].lower() if named else level
        found.append(Line(text, level))
    return found


def fits(line: Line, wanted: str, level: str) -> bool:
    least = LEVELS.index(level) if level in LEVELS else 0
    has = LEVELS.index(line.level.upper()) if line.level else len(LEVELS)
    return has >= least and wanted in line.text.casefold()
