"""`manage.py serve`: bring everything up to date and answer until a signal says stop."""

import logging
import os
import sys
from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from mlxgui.system.definitions import DEFINITIONS
from mlxgui.system.lifecycle import Control
from mlxgui.system.logs import diary, set_level, write_to
from mlxgui.system.startup import CannotStart, cannot_listen, prepare

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
        host, port = options["host"], options["port"]
        try:
            address, rows = prepare(host, port)
            set_level(options["log_level"] or rows["log_level"])
            self.serve(Control(address, host, port))
        except CannotStart as reason:
            sys.stderr.write(f"MLX GUI cannot start: {reason}\n")
            sys.exit(1)

    def serve(self, control: Control) -> None:
        from django.urls import get_resolver
        from django.utils.module_loading import import_string

        from mlxgui.runtime import get_runtime
        from mlxgui.system.web_server import WebServer

        def say_ready(bound_port: int) -> None:
            control.address = replace(address, port=bound_port)
            self.stdout.write(f"MLX GUI {settings.VERSION} is ready at {control.address.url}")
            self.stdout.flush()
            diary.info("MLX GUI %s is ready at %s", settings.VERSION, control.address.url)

        async def start() -> None:
            runtime = get_runtime()
            runtime.control = control
            await runtime.start()

        async def close() -> None:
            await get_runtime().close()

        address = control.address
        application = import_string(settings.ASGI_APPLICATION)
        write_to(settings.HOME.logs)  # not before: importing it sets logging up anew
        _ = get_resolver().url_patterns  # import every view now, not at the first request
        server = WebServer(
            application,
            address.host,
            address.port,
            on_ready=say_ready,
            opened=start,
            closed=close,
            leave=control.leave,
        )
        control.end = server.end
        server.run()
        if server.problem:
            raise CannotStart(cannot_listen(address, server.problem))
        if control.restarting:
            control.start_anew()
        diary.info("stopped")


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
