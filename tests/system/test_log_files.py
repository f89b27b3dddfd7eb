"""Reading the end of a log, and the pages that show it."""

import time
from pathlib import Path

import pytest
from django.test import Client

from mlxgui.home import Home
from mlxgui.system import log_files

LINES = """\
2026-11-01 10:00:00 INFO loaded
2026-11-01 10:00:01 WARNING hot <b>
Traceback (most recent call last):
2026-11-01 10:00:02 ERROR broke
2026-11-01 10:00:03 DEBUG quiet
"""


@pytest.fixture
def home(tmp_path: Path, settings: object) -> Home:
    made = Home(tmp_path)
    made.make()
    settings.HOME = made  # type: ignore[attr-defined]
    (made.logs / "server.log").write_text(LINES)
    (made.logs / "a model.old.log").write_text("old\n")
    (made.logs / "notes.txt").write_text("not a log")
    (made.logs / "link.log").symlink_to("/etc/passwd")
    return made


def test_the_servers_log_comes_first_and_only_logs_are_listed(home: Home) -> None:
    names = [one.name for one in log_files.log_files(home.logs)]
    assert names == ["server.log", "a model.old.log"]


@pytest.mark.parametrize(
    ("wanted", "level", "count"),
    [("", "", 5), ("BROKE", "", 1), ("", "WARNING", 3), ("", "ERROR", 1), ("nothing", "", 0)],
)
def test_lines_are_filtered_by_text_and_level(
    home: Home, wanted: str, level: str, count: int
) -> None:
    file = log_files.find(home.logs, "server.log")
    assert file
    assert len(log_files.tail(file, wanted, level).lines) == count


def test_a_line_without_a_level_belongs_to_the_one_before(home: Home) -> None:
    file = log_files.find(home.logs, "server.log")
    assert file
    assert log_files.tail(file).lines[2].level == "warning"


def test_only_the_end_of_a_long_log_is_read(home: Home) -> None:
    (home.logs / "server.log").write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * 9000)
    file = log_files.find(home.logs, "server.log")
    assert file
    found = log_files.tail(file)
    assert found.is_cut
    assert len(found.lines) == log_files.MOST_LINES
    assert {line.text for line in found.lines} == {"y" * 99}


def test_the_page_escapes_what_a_log_says(home: Home, client: Client) -> None:
    text = client.get("/system/logs/server.log/").text
    assert "hot &lt;b&gt;" in text


def test_following_answers_nothing_until_the_file_grows(home: Home, client: Client) -> None:
    file = log_files.find(home.logs, "server.log")
    assert file
    mark = log_files.tail(file).mark
    seen = {"seen": mark, "q": "", "level": ""}
    htmx = {"HX-Request": "true"}
    assert client.get("/system/logs/server.log/lines/", seen, headers=htmx).status_code == 204
    (home.logs / "server.log").write_text(LINES + "more\n")
    answer = client.get("/system/logs/server.log/lines/", seen, headers=htmx)
    assert answer.status_code == 200
    assert "more" in answer.text
    assert "<html" not in answer.text


def test_a_log_is_downloaded_whole(home: Home, client: Client) -> None:
    answer = client.get("/system/logs/server.log/download/")
    assert answer.content.decode() == LINES
    assert answer["Content-Disposition"] == 'attachment; filename="server.log"'
    assert answer["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("name", ["notes.txt", "link.log", "..%2Fsecret-key", "gone.log"])
def test_nothing_but_a_listed_log_is_shown(home: Home, client: Client, name: str) -> None:
    (home.path / "secret-key").write_text("hush")
    for end in ("", "lines/", "download/"):
        assert client.get(f"/system/logs/{name}/{end}").status_code == 404


def test_the_time_of_change_is_the_files(home: Home) -> None:
    file = log_files.find(home.logs, "server.log")
    assert file
    assert abs(file.changed_at.timestamp() - time.time()) < 60
