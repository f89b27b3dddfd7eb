"""`manage.py serve` as a person meets it: a real process, its lines, its end."""

import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.server import ROOT, ServerProcess, outside

pytestmark = pytest.mark.server

STOP_SECONDS = 5.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("home")) as running:
        running.wait_ready()
        yield running


def refused(home: Path, *flags: str, **environment: str) -> str:
    """The one line of a server that does not start."""
    with ServerProcess(home, *flags, **environment) as server:
        status, errors = server.wait_exit(30)
    assert status == 1
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("MLX GUI cannot start: ")
    return lines[0]


def test_it_is_ready_within_two_seconds_of_a_second_start(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as first:
        first.wait_ready()
    started = time.monotonic()
    with ServerProcess(tmp_path) as second:
        second.wait_ready()
        # Processor time, so that a busy machine does not decide.
        used = psutil.Process(second.process.pid).cpu_times()
    assert used.user + used.system < 2.0, time.monotonic() - started


def test_it_listens_on_loopback_only(server: ServerProcess) -> None:
    process = psutil.Process(server.process.pid)
    listening = [one for one in process.net_connections() if one.status == psutil.CONN_LISTEN]
    assert [one.laddr.ip for one in listening] == ["127.0.0.1"]


def test_it_keeps_a_private_data_folder(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "new" / "home") as server:
        server.wait_ready()
        mode = (tmp_path / "new" / "home").stat().st_mode
    assert stat.S_IMODE(mode) == 0o700


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(tmp_path, MLX_GUI_PORT=str(port))
    assert f"Port {port} is in use" in line


def test_a_data_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    line = refused(tmp_path / "file" / "home")
    assert "cannot be written" in line
    assert "MLX_GUI_HOME" in line


def test_a_second_server_on_the_same_folder_is_one_clear_line(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        line = refused(tmp_path)
        assert f"process {server.process.pid}" in line
    with ServerProcess(tmp_path) as later:
        later.wait_ready()


@pytest.mark.parametrize(
    ("flags", "environment"),
    [(("--host", "0.0.0.0"), {}), ((), {"MLX_GUI_HOST": "0.0.0.0"})],
)
def test_listening_to_other_computers_without_a_key_is_refused(
    tmp_path: Path, flags: tuple[str, ...], environment: dict[str, str]
) -> None:
    assert "MLX_GUI_API_KEY" in refused(tmp_path, *flags, **environment)


def test_a_port_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    assert "eighty" in refused(tmp_path, MLX_GUI_PORT="eighty")


def test_a_flag_goes_before_the_environment(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ServerProcess(tmp_path, "--port", str(port), MLX_GUI_PORT="1") as server:
        assert server.wait_ready() == f"http://127.0.0.1:{port}"


def test_bound_wider_it_answers_to_this_machines_addresses_and_asks_for_the_key(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path, "--host", "0.0.0.0", MLX_GUI_API_KEY="sesame") as server:
        server.wait_ready()
        name = socket.gethostname()
        assert server.ask("/health", headers={"Host": name}).status == 200
        assert server.ask("/v1/settings", headers={"Host": name}).status == 401
        right = {"Host": name, "Authorization": "Bearer sesame"}
        assert server.ask("/v1/settings", headers=right).status == 200
        assert server.ask("/v1/settings", headers={"Host": "evil.example"}).status == 400
        assert server.ask("/setup/", headers=right).status == 404


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_cleanly(tmp_path: Path, number: int) -> None:
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        assert server.ask("/health").status == 200
        started = time.monotonic()
        server.process.send_signal(number)
        status, errors = server.wait_exit()
    assert (status, errors) == (0, "")
    assert time.monotonic() - started < STOP_SECONDS


def test_an_open_connection_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        url = server.wait_ready()
        port = int(url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"POST /v1/settings HTTP/1.1\r\nHost: localhost\r\n")
            server.process.terminate()
            started = time.monotonic()
            assert server.wait_exit()[0] == 0
    assert time.monotonic() - started < STOP_SECONDS


@pytest.mark.model
def test_its_children_are_gone_when_it_is(tmp_path: Path) -> None:
    hello = {"model": "starter", "messages": [{"role": "user", "content": "What is MLX GUI?"}]}
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        assert server.ask("/v1/chat/completions", "POST", hello).status == 200
        assert server.ask("/health").json()["loaded_model"] == "starter"
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert children
        started = time.monotonic()
        server.process.terminate()
        assert server.wait_exit() == (0, "")
    assert time.monotonic() - started < STOP_SECONDS
    assert [child for child in children if child.is_running()] == []


def test_static_files_are_collected_once(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        assert server.ask("/static/css/app.css").headers["Content-Type"].startswith("text/css")
    collected = tmp_path / "static" / "css" / "app.css"
    before = collected.stat().st_mtime_ns
    os.utime(collected, ns=(before, before - 10**9))
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
    assert collected.stat().st_mtime_ns == before - 10**9


def test_the_web_process_stays_small_and_free_of_mlx(server: ServerProcess) -> None:
    for _ in range(25):
        for path in ("/health", "/v1/models", "/library/", "/chat/"):
            assert server.ask(path).status < 400
    process = psutil.Process(server.process.pid)
    assert process.memory_info().rss < 120 * 2**20
    mapped = [Path(one.path).name for one in process.memory_maps()]
    heavy = ("libmlx", "tokenizers", "_multiarray_umath", "safetensors")
    assert [name for name in mapped if name.startswith(heavy)] == []


def test_make_run_takes_variables_and_ends_quietly_on_ctrl_c(tmp_path: Path) -> None:
    variables = [f"MLX_GUI_HOME={tmp_path}", "MLX_GUI_PORT=0"]
    with subprocess.Popen(
        ["make", "run", *variables],
        cwd=ROOT,
        env=outside(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as make:
        assert make.stdout is not None
        said = ""
        while " is ready at " not in said:
            said = make.stdout.readline()
            assert said
        os.killpg(make.pid, signal.SIGINT)
        assert "Error" not in make.stdout.read()
    assert (tmp_path / "mlx-gui.sqlite3").exists()
