"""Text to be said, cut where a speaker would breathe: the first sentence is heard while the next
is made."""

import re

LONGEST = 300
"""Letters in one breath; models lose the thread of what is much longer."""
SHORTEST = 60
"""Shorter ones are said together with the next: a voice needs a run-up."""
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\s*\n+\s*")
_PAUSE = re.compile(r"(?<=[,;:—])\s+|(?<=[，；：、])")


def sentences(text: str) -> list[str]:
    """Pieces of at most `LONGEST` letters, in order; no letter is lost but white space."""
    pieces: list[str] = []
    for sentence in filter(None, (found.strip() for found in _split(_SENTENCE_END, text))):
        short = sentence if len(sentence) <= LONGEST else ""
        parts = [short] if short else list(_breaths(sentence))
        if pieces and len(pieces[-1]) < SHORTEST and len(pieces[-1]) + len(parts[0]) < LONGEST:
            pieces[-1] += " " + parts.pop(0)
        pieces += parts
    return pieces


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    """The closing quotation marks that a match has in it stay with the sentence."""
    found, start = [], 0
    for match in pattern.finditer(text):
        end = match.start() + len(match.group().rstrip())
        found.append(text[start:end])
        start = match.end()
    return [*found, text[start:]]


def _breaths(sentence: str) -> list[str]:
    """A long sentence at its commas, else at its spaces, else anywhere."""
    pieces = [""]
    for part in _split(_PAUSE, sentence):
        for word in [part] if len(part) <= LONGEST else _words(part):
            if pieces[-1] and len(pieces[-1]) + 1 + len(word) > LONGEST:
                pieces.append(word)
            else:
                pieces[-1] = f"{pieces[-1]} {word}".strip()
    return [piece for piece in pieces if piece]


def _words(part: str) -> list[str]:
    found: list[str] = []
    for word in part.split():
        found += [word[at : at + LONGEST] for at in range(0, len(word), LONGEST)]
    return found
