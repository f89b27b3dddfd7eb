"""Train the starter model again: `manage.py build_starter [--output FOLDER]`."""

import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Train the starter model on docs/guide.jsonl and check its answers."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", help="folder to write (default: models_app/starter)")
        parser.add_argument("--guide", help="what to learn (default: docs/guide.jsonl)")
        parser.add_argument("--steps", type=int, help="training steps, fewer for a trial")

    def handle(self, *args: Any, **options: Any) -> None:
        command = [sys.executable, "-m", "mlxgui.engine.jobs.starter"]
        for name in ("output", "guide", "steps"):
            if options[name] is not None:
                command += [f"--{name}", str(options[name])]
        with subprocess.Popen(
            command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True
        ) as child:
            for line in child.stdout or ():
                self.stdout.write(line, ending="")
                self.stdout.flush()
        if child.returncode:
            sys.exit(child.returncode)
