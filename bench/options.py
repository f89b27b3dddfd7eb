"""What every benchmark's command line has in common."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType


def parser(doc: str | None) -> argparse.ArgumentParser:
    """`--help` shows the module's own words, as they stand there."""
    signal.signal(signal.SIGTERM, leave)
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_model(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--model", type=Path, metavar="FOLDER", help="a text model; a small random one where none"
    )


def leave(number: int, frame: FrameType | None) -> None:
    """As an exception, so that the servers which were started are stopped."""
    sys.exit(128 + number)
