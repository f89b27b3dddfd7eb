"""`manage.py service install | uninstall | status`: start with the login, and after a crash."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from mlxgui.system import service
from mlxgui.system.startup import holder_of_data_folder


class Command(BaseCommand):
    help = "Run MLX GUI as a service of this account."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=("install", "uninstall", "status"))

    def handle(self, *args: Any, **options: Any) -> None:
        what = service.program(settings.BASE_DIR, settings.HOME.path, os.environ)
        try:
            found = service.service_for(sys.platform, what)
            lines = self.act(options["action"], found)
        except (ValueError, service.NotDone, OSError) as problem:
            raise CommandError(str(problem)) from None
        for line in lines:
            self.stdout.write(line)

    def act(self, action: str, found: service.Service) -> list[str]:
        if action == "uninstall":
            return service.uninstall(found)
        running, words = service.state(found)
        if action == "status":
            self.stdout.write(words)
            sys.exit(0 if running else 3)
        holder = "" if running else holder_of_data_folder()
        if holder:
            raise CommandError(
                f"MLX GUI runs already (process {holder}) with this data folder. "
                "Stop it there, then install again."
            )
        settings.HOME.make()
        return service.install(found)
