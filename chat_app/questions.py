"""Questions to begin with, taken from the guide to this application."""

import json
from functools import cache

from django.conf import settings

SHOWN = 4
FAVOURITES = (
    "Give me a tour of MLX GUI",
    "How do I use this with the OpenAI client?",
    "Which model should I try first?",
    "Where is my data stored?",
)


@cache
def example_questions() -> list[str]:
    """Favourites that the guide answers, filled up with its first ones. Empty without a guide."""
    try:
        lines = (settings.BASE_DIR / "docs" / "guide.jsonl").read_text().splitlines()
    except OSError:
        return []
    known = [question for line in lines if line.strip() and (question := _question(line))]
    chosen = [question for question in FAVOURITES if question in known]
    chosen += [question for question in known if question not in chosen]
    return chosen[:SHOWN]


def _question(line: str) -> str:
    """The first thing the person says, in any of the usual shapes of chat data."""
    row = json.loads(line)
    if turns := row.get("messages"):
        return str(next((turn["content"] for turn in turns if turn["role"] == "user"), ""))
    return str(row.get("question") or row.get("prompt") or "")
