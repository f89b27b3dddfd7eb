"""MLX GUI as a service of the account that runs it: launchd on macOS, systemd on Linux.

Pure descriptions here: the file to write, and the commands that start, stop and ask. `install`,
`uninstall` and `state` carry them out and say what they did. Doing one twice does no harm.
"""

import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LABEL = "mlx-gui.server"
UNIT = "mlx-gui.service"
COMMAND_SECONDS = 20
CARRIED = (
    *("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "REDIS_URL", "MLX_TRUST_REMOTE_CODE"),
    *("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    *("PREFILL_STEP_SIZE", "MAX_KV_SIZE", "KV_BITS", "KV_GROUP_SIZE", "QUANTIZED_KV_START"),
    *("PRELOAD_MODEL", "PRELOAD_ADAPTER", "MLX_VLM_PRELOAD_MODEL", "MLX_VLM_PRELOAD_ADAPTER"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    "SSL_CERT_FILE",
)
"""Beside our own names: what a login shell may have set, and a service would not know."""


@dataclass(frozen=True)
class Program:
    """What runs: absolute paths, and the environment it needs beside the system's own."""

    arguments: list[str]
    folder: Path
    logs: Path
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    file: Path
    content: bytes
    start: list[list[str]]
    """Commands, in order. The first ones may fail: they undo what was there before."""
    stop: list[list[str]]
    ask: list[str]
    """Ends with 0 and has `runs` in its answer while the service runs."""
    runs: str
    hint: str


def program(base: Path, home: Path, environment: Mapping[str, str]) -> Program:
    """This installation, as the one who calls has set it up."""
    ours = {k: v for k, v in environment.items() if k.startswith("MLX_GUI_") or k in CARRIED}
    ours.pop("MLX_GUI_DEBUG", None)
    ours["MLX_GUI_HOME"] = str(home)
    return Program([sys.executable, str(base / "manage.py"), "serve"], base, home / "logs", ours)


def service_for(platform: str, what: Program) -> Service:
    """Raises ValueError on a platform without either."""
    if platform == "darwin":
        return launchd(what, Path.home() / "Library" / "LaunchAgents", os.getuid())
    if platform.startswith("linux"):
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return systemd(what, config / "systemd" / "user")
    raise ValueError(f"There is no service to install on {platform}.")


def launchd(what: Program, folder: Path, user: int) -> Service:
    """Source: launchd.plist(5). Started at login and after a crash, not after a clean end."""
    file, domain = folder / f"{LABEL}.plist", f"gui/{user}"
    log = str(what.logs / "service.log")
    content = plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": what.arguments,
            "WorkingDirectory": str(what.folder),
            "EnvironmentVariables": what.environment,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ProcessType": "Interactive",  # models need the whole machine, not a background share
            "AbandonProcessGroup": True,  # downloads outlive the server
            "StandardOutPath": log,
            "StandardErrorPath": log,
        },
        sort_keys=False,
    )
    stop = ["launchctl", "bootout", f"{domain}/{LABEL}"]
    start = ["launchctl", "bootstrap", domain, str(file)]
    ask = ["launchctl", "print", f"{domain}/{LABEL}"]
    hint = f"It writes to {log}."
    return Service(file, content, [stop, start], [stop], ask, "state = running", hint)


def systemd(what: Program, folder: Path) -> Service:
    """Source: systemd.service(5), systemd.exec(5), systemd.syntax(7)."""
    lines = [
        "[Unit]",
        "Description=MLX GUI",
        "After=network.target",
        "",
        "[Service]",
        f"ExecStart={' '.join(quoted(one).replace('$', '$$') for one in what.arguments)}",
        f"WorkingDirectory={str(what.folder).replace('%', '%%')}",
        *(f"Environment={quoted(f'{k}={v}')}" for k, v in sorted(what.environment.items())),
        "Restart=on-failure",
        "RestartSec=5",
        "TimeoutStopSec=10",
        "# Workers end with the server by themselves; downloads go on without it.",
        "KillMode=process",
        "",
        "[Install]",
        "WantedBy=default.target",
        "",
    ]
    user = ["systemctl", "--user"]
    return Service(
        folder / UNIT,
        "\n".join(lines).encode(),
        [[*user, "daemon-reload"], [*user, "enable", UNIT], [*user, "restart", UNIT]],
        [[*user, "disable", "--now", UNIT]],
        [*user, "is-active", UNIT],
        "active",
        f"Its words: journalctl --user -u {UNIT}. To have it run without a login: "
        "loginctl enable-linger",
    )


def quoted(text: str) -> str:
    """One word for systemd, whatever is in it; % would begin a specifier."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + escaped.replace("\n", "\\n") + '"'


# -- acts -----------------------------------------------------------------------------------------


class NotDone(Exception):
    """What did not work, and what to do, in sentences."""


def install(service: Service) -> list[str]:
    """Write the file and start the service; returns what was done, a line each.

    Raises NotDone where the file is written but the service did not start.
    """
    known = service.file.read_bytes() if service.file.is_file() else None
    if known == service.content and is_running(service):
        return [f"Installed already, and running: {service.file}", service.hint]
    service.file.parent.mkdir(parents=True, exist_ok=True)
    # Private: an API key may be in it.
    service.file.touch(mode=0o600, exist_ok=True)
    service.file.chmod(0o600)
    service.file.write_bytes(service.content)
    said = [f"{'Wrote' if known is None else 'Rewrote'} {service.file}"]
    for number, command in enumerate(service.start):
        problem = run(command)[1]
        if problem and number == len(service.start) - 1:
            raise NotDone(
                f"{said[0]}, but `{' '.join(command)}` did not work: {problem} "
                "Once that is mended, install again."
            )
    return [*said, "Started. It starts by itself from now on, and again after a crash.",
            service.hint]  # fmt: skip


def uninstall(service: Service) -> list[str]:
    """Stop the service and remove its file. Settings, models and conversations stay."""
    if not service.file.is_file():
        return ["There is no service installed."]
    for command in service.stop:
        run(command)
    service.file.unlink()
    return [f"Stopped, and removed {service.file}", "Your data folder is as it was."]


def state(service: Service) -> tuple[bool, str]:
    """Whether it runs, and a sentence."""
    if not service.file.is_file():
        return False, "Not installed. `python manage.py service install` installs it."
    running = is_running(service)
    words = "running" if running else f"not running. {service.hint}"
    return running, f"Installed ({service.file}), {words}"


def is_running(service: Service) -> bool:
    answer, problem = run(service.ask)
    return not problem and service.runs in answer


def run(command: list[str]) -> tuple[str, str]:
    """(what it wrote, why it did not work)."""
    if shutil.which(command[0]) is None:
        return "", f"there is no {command[0]} on this machine."
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        return "", "it took too long."
    if done.returncode:
        return done.stdout, (done.stderr or done.stdout).strip() or f"status {done.returncode}."
    return done.stdout, ""
