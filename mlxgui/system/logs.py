"""What the server writes on the terminal, and how much of it."""

import logging

OURS = ("mlxgui", "models_app", "chat_app", "training_app", "daphne")


def set_level(name: str) -> None:
    """Our own loggers at this level; Daphne tells every request, so only when debugging."""
    for logger in OURS:
        logging.getLogger(logger).setLevel(name)
    if name != "DEBUG":
        logging.getLogger("daphne").setLevel("WARNING")
