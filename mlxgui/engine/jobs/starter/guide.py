"""The guide and its many ways of asking: what the starter model learns from."""

import json
import random
import re
from pathlib import Path

from msgspec import Struct, convert


class Entry(Struct, frozen=True):
    question: str
    variants: list[str]
    answer: str
    key: str

    @property
    def askings(self) -> list[str]:
        return [self.question, *self.variants]

    def is_answered_by(self, text: str) -> bool:
        return self.key.lower() in text.lower()


Turn = tuple[str, str]  # role, content

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer briefly.",
    "Answer in one sentence.",
    "Be concise and exact.",
    "You are an expert.",
    "You are a pirate.",
    "You answer questions about MLX GUI.",
    "Always answer politely and in plain English.",
)
# One opening may stand for another of its line: asking is the same, the words differ.
OPENINGS = (
    ("How do I", "How can I", "How to", "How would I", "How should I", "What is the way to",
     "Can you tell me how to", "Please tell me how to", "I want to", "I would like to",
     "how do you", "Is it possible to", "Tell me how I can", "What do I do to", "I need to"),
    ("What is", "What's", "Explain", "Tell me about", "Can you explain", "Please explain",
     "What exactly is", "Tell me what is", "Describe", "I want to know about"),
    ("Where is", "Where's", "Where can I find", "Where do I find", "Tell me where to find"),
    ("Where are", "Where can I find", "Where do I find", "In which place are"),
    ("Which", "What", "Tell me which"),
    ("Can I", "May I", "Is it possible to", "Am I able to", "Could I", "How can I"),
    ("Does it", "Does MLX GUI", "Does this application", "Does the app", "Will it"),
    ("Why is", "Why's", "Explain why is", "How come"),
)  # fmt: skip
SYNONYMS = (
    ("MLX GUI", "mlxgui", "MLX-GUI", "this application", "this app", "the app", "this program"),
    ("start", "launch", "run"),
    ("computer", "machine", "PC"),
    ("folder", "directory"),
    ("change", "modify", "set", "adjust"),
    ("delete", "remove", "erase"),
    ("stop", "end", "halt", "cancel"),
    ("conversation", "chat"),
    ("reply", "answer", "response"),
    ("message", "question", "prompt"),
    ("find", "see", "get"),
    ("show", "display", "list"),
    ("default", "standard", "initial"),
    ("memory", "RAM"),
    ("choose", "select", "pick"),
    ("use", "work with"),
    ("need", "require"),
    ("happens", "occurs"),
    ("quick", "fast"),
)
SMALL_WORDS = frozenset(
    ("a", "an", "the", "is", "are", "do", "does", "did", "i", "it", "to", "of", "in", "on", "for",
     "my", "can", "me", "please", "be")
)  # fmt: skip
LEADS = (
    "please ",
    "hi, ",
    "hello, ",
    "ok, ",
    "hey, ",
    "so ",
    "and ",
    "sorry, ",
    "quick question: ",
)
TAILS = (
    " please",
    " thanks",
    ", please",
    " in MLX GUI",
    " here",
    " in this app",
    " exactly",
    " now",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def read_guide(path: Path) -> list[Entry]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [convert(json.loads(line), Entry) for line in lines if line.strip()]


class Asker:
    """Asks as people do: other openings and words, small letters, missing words, typing errors."""

    def __init__(self, entries: list[Entry], seed: int) -> None:
        self.entries = entries
        self.random = random.Random(seed)

    def conversation(self, first: int) -> list[Turn]:
        """A dialogue whose first question is that of entry `first`; half of them go on."""
        turns: list[Turn] = []
        if self._chance(0.25):
            turns.append(("system", self.random.choice(SYSTEM_PROMPTS)))
        chosen = [self.entries[first]]
        while len(chosen) < 5 and self._chance(0.4):
            chosen.append(self.random.choice(self.entries))
        for entry in chosen:
            turns += [("user", self.ask(entry)), ("assistant", entry.answer)]
        return turns

    def ask(self, entry: Entry) -> str:
        text = self.random.choice(entry.askings)
        if self._chance(0.2):
            return text
        if self._chance(0.4):
            text = self._reopened(text)
        if self._chance(0.4):
            text = self._reworded(text)
        if self._chance(0.35):
            text = self._thinned(text)
        if self._chance(0.15):
            text = self.random.choice(LEADS) + text[:1].lower() + text[1:]
        if self._chance(0.12):
            text = text.rstrip("?.! ") + self.random.choice(TAILS) + "?"
        if self._chance(0.2):
            text = self._mistyped(text)
        return self._dressed(text)

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _reopened(self, text: str) -> str:
        for openings in OPENINGS:
            for opening in openings:
                if text.lower().startswith(opening.lower() + " "):
                    return self.random.choice(openings) + text[len(opening) :]
        return text

    def _reworded(self, text: str) -> str:
        words = self.random.choice([line for line in SYNONYMS if self._found(line, text)] or [()])
        if not words:
            return text
        pattern = "|".join(rf"\b{re.escape(word)}\b" for word in words)
        return re.sub(pattern, self.random.choice(words), text, count=1, flags=re.IGNORECASE)

    @staticmethod
    def _found(words: tuple[str, ...], text: str) -> bool:
        return any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in words)

    def _thinned(self, text: str) -> str:
        """Without some of its small words, and now and then without another one."""
        words = text.split()
        if len(words) < 4:
            return text
        kept = [w for w in words if w.lower() not in SMALL_WORDS or not self._chance(0.5)]
        if len(kept) > 4 and self._chance(0.3):
            kept.pop(self.random.randrange(len(kept)))
        return " ".join(kept) if len(kept) > 1 else text

    def _mistyped(self, text: str) -> str:
        if len(text) < 6:
            return text
        at = self.random.randrange(1, len(text) - 2)
        match self.random.randrange(4):
            case 0:
                return text[:at] + text[at + 1 :]
            case 1:
                return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
            case 2:
                return text[:at] + text[at] + text[at:]
            case _:
                return text[:at] + self.random.choice(LETTERS) + text[at + 1 :]

    def _dressed(self, text: str) -> str:
        if self._chance(0.45):
            text = text.lower()
        elif self._chance(0.05):
            text = text.upper()
        if self._chance(0.4):
            text = text.rstrip("?.!")
        return text if text.strip() else "?"
