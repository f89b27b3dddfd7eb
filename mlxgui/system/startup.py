"""What happens before the server listens: data folder, lock, database, static files, address."""

import errno
import fcntl
import hashlib
import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from mlxgui.system import keys
from mlxgui.system.models import Setting


class CannotStart(Exception):
    """One line that says why, for the terminal."""


# -- the data folder ------------------------------------------------------------------------------


def claim_data_folder() -> int:
    """The lock's file descriptor. Held for life: it goes with the process, however that ends."""
    folder = settings.HOME.path
    try:
        settings.HOME.make()
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStart(
            f"The data folder {folder} cannot be written: {error.strerror}. "
            "MLX_GUI_HOME names another one."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 20).decode(errors="replace").strip()
        raise CannotStart(
            f"Another MLX GUI (process {holder or 'unknown'}) is using the data folder {folder}."
        ) from None
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def holder_of_data_folder() -> str:
    """The process that uses the data folder now; empty where none does."""
    try:
        lock = os.open(settings.HOME.path / "lock", os.O_RDWR)
    except OSError:
        return ""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return os.read(lock, 20).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(lock)
    return ""


# -- database and static files --------------------------------------------------------------------


def migrate() -> None:
    """Bring the database up to date; most starts find nothing to do and stay quick."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)
    Setting.objects.make_rows()


def collect_static() -> None:
    """Copy the static files where WhiteNoise serves them from, unless nothing has changed."""
    stamp = Path(settings.STATIC_ROOT) / ".stamp"
    now = fingerprint()
    if stamp.is_file() and stamp.read_text() == now:
        return
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(now)


def fingerprint() -> str:
    seen = hashlib.sha256(settings.VERSION.encode())
    for finder in get_finders():
        for path, storage in finder.list(None):
            facts = os.stat(storage.path(path))
            seen.update(f"{storage.path(path)}\0{facts.st_mtime_ns}\0{facts.st_size}\n".encode())
    return seen.hexdigest()


# -- the address ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """As one types it into a browser on this computer."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def choose_address(rows: dict[str, Any], host: str | None, port: int | None) -> Address:
    """Settings row < environment < flag."""
    row_host = "0.0.0.0" if rows["bind_to_all_interfaces"] else "127.0.0.1"
    host = host or os.environ.get("MLX_GUI_HOST") or row_host
    if port is None:
        port = port_from(os.environ.get("MLX_GUI_PORT") or rows["server_port"])
    address = Address(host, port)
    if not address.is_loopback and not keys.configured():
        raise CannotStart(
            f"Listening on {host} lets other computers in, so MLX_GUI_API_KEY must be set first."
        )
    return address


def port_from(text: object) -> int:
    try:
        port = int(str(text))
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise CannotStart(f"MLX_GUI_PORT must be a port from 0 to 65535, not {text!r}.")
    return port


def cannot_listen(address: Address, problem: object) -> str:
    """What the operating system said, in the words of the one who starts a server."""
    number = getattr(problem, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            f"Port {address.port} is in use already. Choose another: "
            f"MLX_GUI_PORT={address.port + 1} make run"
        )
    if number == errno.EACCES:
        return f"Port {address.port} needs more rights than this account has."
    return f"It cannot listen on {address.host}, port {address.port}: {problem}."


def names_of_this_machine() -> list[str]:
    """Under which names and addresses other computers reach this one."""
    import socket

    import psutil

    name = socket.gethostname()
    addresses = [
        one.address.split("%")[0]
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family in (socket.AF_INET, socket.AF_INET6)
    ]
    short = name.split(".")[0]
    return [
        name,
        short,
        f"{short}.local",
        *(f"[{one}]" if ":" in one else one for one in addresses),
    ]


def prepare(host: str | None, port: int | None) -> tuple[Address, dict[str, Any]]:
    """Everything up to the point where listening can begin: the address, and the settings."""
    claim_data_folder()
    migrate()
    rows = Setting.objects.as_dict()
    address = choose_address(rows, host, port)
    if not address.is_loopback:
        settings.ALLOWED_HOSTS += names_of_this_machine()
    settings.BOUND_TO_LOOPBACK = address.is_loopback
    collect_static()
    return address, rows
