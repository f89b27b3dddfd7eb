"""`manage.py serve`: bring everything up to date and answer until a signal says stop."""

import logging
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from mlxgui.system.definitions import DEFINITIONS
from mlxgui.system.logs import set_level
from mlxgui.system.startup import Address, CannotStart, prepare

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Start MLX GUI."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", help="Address to listen on; this computer only by default.")
        parser.add_argument("--port", type=port, help="Port to listen on; 0 chooses a free one.")
        parser.add_argument("--model", help="Load this model at once.")
        parser.add_argument("--adapter-path", help="Load it with the adapter in this folder.")
        parser.add_argument(
            "--log-level",
            type=str.upper,
            choices=DEFINITIONS["log_level"].choices,
            help="How much to write on the terminal.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        preload(options["model"], options["adapter_path"])
        try:
            address, rows = prepare(options["host"], options["port"])
            set_level(options["log_level"] or rows["log_level"])
            self.serve(address)
        except CannotStart as reason:
            sys.stderr.write(f"MLX GUI cannot start: {reason}\n")
            sys.exit(1)

    def serve(self, address: Address) -> None:
        from django.urls import get_resolver
        from django.utils.module_loading import import_string

        from mlxgui.runtime import get_runtime
        from mlxgui.system.web_server import WebServer

        def say_ready(bound_port: int) -> None:
            url = Address(address.host, bound_port).url
            self.stdout.write(f"MLX GUI {settings.VERSION} is ready at {url}")
            self.stdout.flush()

        async def start() -> None:
            await get_runtime().start()

        async def close() -> None:
            await get_runtime().close()

        application = import_string(settings.ASGI_APPLICATION)
        _ = get_resolver().url_patterns  # import every view now, not at the first request
        server = WebServer(
            application,
            address.host,
            address.port,
            on_ready=say_ready,
            opened=start,
            closed=close,
        )
        server.run()
        if server.problem:
            raise CannotStart(cannot_listen(address, server.problem))


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


def preload(model: str | None, adapter_path: str | None) -> None:
    """The runtime reads these, so that the environment alone does it too."""
    if model:
        os.environ["MLX_GUI_PRELOAD_MODEL"] = model
    if adapter_path:
        os.environ["MLX_GUI_PRELOAD_ADAPTER"] = adapter_path


def cannot_listen(address: Address, problem: Any) -> str:
    """What the operating system said, in the words of the one who starts a server."""
    import errno

    number = getattr(problem, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            f"Port {address.port} is in use already. Choose another: "
            f"MLX_GUI_PORT={address.port + 1} make run"
        )
    if number == errno.EACCES:
        return f"Port {address.port} needs more rights than this account has."
    return f"It cannot listen on {address.host}, port {address.port}: {problem}."
