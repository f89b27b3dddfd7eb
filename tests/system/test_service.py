"""The service files of launchd and systemd, and the commands that act on them."""

import plistlib
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mlxgui.system import service
from mlxgui.system.service import Program
from tests.server import ROOT, ServerProcess, outside

pytestmark = pytest.mark.server

NASTY = 'a "b" \\c 100% $HOME <&> é'


@pytest.fixture
def what(tmp_path: Path) -> Program:
    home = tmp_path / NASTY
    environment = {"MLX_GUI_PORT": "9000", "HF_TOKEN": NASTY, "MLX_GUI_DEBUG": "1", "PATH": "/x"}
    return service.program(ROOT, home, environment)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`systemctl` and `launchctl` of our own, which write down how they were called.

    The service is told to run once it was started, and not to run once it was stopped.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("systemctl", "launchctl"):
        tool = folder / name
        tool.write_text(
            f"#!/bin/sh\necho {name} \"$@\" >> '{folder}/calls'\n"
            f"[ -e '{folder}/broken' ] && echo 'Failed to connect to bus' >&2 && exit 1\n"
            f"case \"$*\" in *restart*|*bootstrap*) touch '{folder}/on';; "
            f"*disable*|*bootout*) rm -f '{folder}/on';; "
            f"*is-active*) [ -e '{folder}/on' ] && echo active || {{ echo inactive; exit 3; }};; "
            f"*print*) [ -e '{folder}/on' ] && echo 'state = running' || exit 113;; esac\n"
        )
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def calls(tools: Path) -> list[str]:
    file = tools / "calls"
    return file.read_text().splitlines() if file.exists() else []


def test_the_program_carries_what_a_login_shell_had_set(what: Program, tmp_path: Path) -> None:
    assert what.arguments == [sys.executable, str(ROOT / "manage.py"), "serve"]
    assert what.environment == {
        "MLX_GUI_HOME": str(tmp_path / NASTY), "MLX_GUI_PORT": "9000", "HF_TOKEN": NASTY,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["KV_BITS", "PRELOAD_MODEL", "MLX_VLM_PRELOAD_ADAPTER", "HUGGINGFACE_HUB_TOKEN",
             "HTTPS_PROXY", "MLX_TRUST_REMOTE_CODE"],
)  # fmt: skip
def test_a_service_knows_every_name_that_the_readme_documents(tmp_path: Path, name: str) -> None:
    made = service.program(ROOT, tmp_path, {name: "1", "PATH": "/bin"})
    assert made.environment == {name: "1", "MLX_GUI_HOME": str(tmp_path)}


def test_the_plist_is_what_launchd_reads(what: Program, tmp_path: Path) -> None:
    made = service.launchd(what, tmp_path, 501)
    read = plistlib.loads(made.content)
    assert made.file.name == "mlx-gui.server.plist"
    assert read["Label"] == "mlx-gui.server"
    assert read["ProgramArguments"] == what.arguments
    assert read["EnvironmentVariables"] == what.environment
    assert read["WorkingDirectory"] == str(ROOT)
    assert read["RunAtLoad"] is True
    assert read["KeepAlive"] == {"SuccessfulExit": False}
    assert read["StandardErrorPath"] == str(what.logs / "service.log")
    assert made.start[-1] == ["launchctl", "bootstrap", "gui/501", str(made.file)]


def test_the_unit_quotes_every_path_and_value(what: Program, tmp_path: Path) -> None:
    made = service.systemd(what, tmp_path)
    values: dict[str, list[str]] = {}
    for line in made.content.decode().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(key, []).append(value)
    assert [unquoted(one) for one in values["Environment"]] == [
        f"{key}={value}" for key, value in sorted(what.environment.items())
    ]
    assert values["ExecStart"] == [" ".join(f'"{one}"' for one in what.arguments)]
    assert values["Restart"] == ["on-failure"]
    assert values["KillMode"] == ["process"]
    assert values["WantedBy"] == ["default.target"]


def unquoted(text: str) -> str:
    """As systemd reads it: quotes and backslashes as in a shell, then specifiers."""
    (word,) = shlex.split(text)
    return word.replace("%%", "%")


def test_a_dollar_in_the_command_is_no_variable() -> None:
    made = service.systemd(Program(["/a$b/python"], Path("/50%"), Path("/logs")), Path("/x"))
    assert b'ExecStart="/a$$b/python"' in made.content
    assert b"WorkingDirectory=/50%%" in made.content


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_itself_accepts_the_unit(tmp_path: Path) -> None:
    what = service.program(ROOT, tmp_path / "a home", {})
    made = service.systemd(what, tmp_path)
    made.file.write_bytes(made.content)
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(made.file)], capture_output=True, text=True
    )
    assert str(made.file) not in done.stderr


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_installing_twice_and_uninstalling_twice_do_no_harm(
    platform: str, what: Program, tools: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "agents"
    is_mac = platform == "darwin"
    made = service.launchd(what, folder, 501) if is_mac else service.systemd(what, folder)
    assert service.state(made)[0] is False
    first = service.install(made)
    assert first[0] == f"Wrote {made.file}"
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert service.state(made) == (True, f"Installed ({made.file}), running")
    before = len(calls(tools))
    assert service.install(made)[0].startswith("Installed already")
    assert len(calls(tools)) == before + 1  # only asked
    made.file.write_text("of an older version")
    assert service.install(made)[0] == f"Rewrote {made.file}"
    assert made.file.read_bytes() == made.content
    assert "Stopped" in service.uninstall(made)[0]
    assert not made.file.exists()
    assert service.uninstall(made) == ["There is no service installed."]
    assert service.state(made)[0] is False


def test_a_machine_without_a_session_bus_is_told_what_to_do(
    what: Program, tools: Path, tmp_path: Path
) -> None:
    (tools / "broken").touch()
    made = service.systemd(what, tmp_path / "units")
    with pytest.raises(service.NotDone, match="Failed to connect to bus"):
        service.install(made)
    assert made.file.exists()


def test_an_unknown_platform_is_refused(what: Program) -> None:
    with pytest.raises(ValueError, match="no service"):
        service.service_for("win32", what)


def manage(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "service", *arguments],
        cwd=ROOT,
        env=outside() | {"MLX_GUI_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="writes where systemd looks")
def test_the_command_installs_says_so_and_uninstalls(tools: Path, tmp_path: Path) -> None:
    home, config = tmp_path / "home", str(tmp_path / "config")
    path = f"{tools}:/usr/bin:/bin"
    assert manage(home, "status", PATH=path, XDG_CONFIG_HOME=config).returncode == 3
    done = manage(home, "install", PATH=path, XDG_CONFIG_HOME=config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "starts by itself" in done.stdout
    assert (tmp_path / "config" / "systemd" / "user" / "mlx-gui.service").is_file()
    status = manage(home, "status", PATH=path, XDG_CONFIG_HOME=config)
    assert (status.returncode, "running" in status.stdout) == (0, True)
    assert manage(home, "uninstall", PATH=path, XDG_CONFIG_HOME=config).returncode == 0


def test_installing_beside_a_running_server_is_refused(tools: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "home") as server:
        server.wait_ready()
        done = manage(tmp_path / "home", "install", XDG_CONFIG_HOME=str(tmp_path / "config"))
        assert done.returncode == 1
        assert f"process {server.process.pid}" in done.stderr
    assert not (tmp_path / "config").exists()
