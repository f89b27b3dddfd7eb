"""What the server writes, on the terminal and in the folder of logs, and how much of it."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from mlxgui.engine.bounded_log import LOG_BYTES

OURS = ("mlxgui", "models_app", "chat_app", "training_app", "daphne")
SERVER_LOG = "server.log"
diary = logging.getLogger("mlxgui.server")
"""What only the file tells: when the server started, and when and why it ended."""


def set_level(name: str) -> None:
    """Our own loggers at this level; Daphne tells every request, so only when debugging."""
    for logger in OURS:
        logging.getLogger(logger).setLevel(name)
    if name != "DEBUG":
        logging.getLogger("daphne").setLevel("WARNING")


def write_to(folder: Path) -> None:
    """The same lines as on the terminal, in a file of bounded size for the System page."""
    file = RotatingFileHandler(
        folder / SERVER_LOG, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", delay=True
    )
    file.setFormatter(logging.Formatter("{asctime} {levelname} {name}: {message}", style="{"))
    logging.getLogger().addHandler(file)
    diary.addHandler(file)
    diary.setLevel("INFO")
    diary.propagate = False
