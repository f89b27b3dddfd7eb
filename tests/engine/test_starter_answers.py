"""The shipped starter model, loaded by mlx_lm, answers what it was taught, in other words too."""

import json
from pathlib import Path

import pytest

from mlxgui.engine.jobs.starter.guide import read_guide
from mlxgui.engine.jobs.starter.saving import score

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models_app" / "starter"
ENTRIES = read_guide(ROOT / "docs" / "guide.jsonl")
PARAPHRASES = Path(__file__).with_name("starter_paraphrases.jsonl").read_text().splitlines()
SAMPLE_STEP = 7

pytestmark = pytest.mark.model


def test_greedy_answers_hold_the_key_phrase() -> None:
    sample = ENTRIES[::SAMPLE_STEP]
    share, failed = score(FOLDER, [(entry.question, entry) for entry in sample])
    assert len(sample) >= 20
    assert share >= 0.9, failed


def test_questions_it_never_learnt_are_answered_too() -> None:
    known = {entry.question: entry for entry in ENTRIES}
    asked = [(row["asked"], known[row["question"]]) for row in map(json.loads, PARAPHRASES)]
    share, failed = score(FOLDER, asked)
    assert share >= 0.8, failed


def test_the_paraphrases_are_not_in_the_guide() -> None:
    def plain(text: str) -> str:
        return text.lower().strip("?!. ")

    learnt = {plain(asking) for entry in ENTRIES for asking in entry.askings}
    assert learnt.isdisjoint(plain(json.loads(line)["asked"]) for line in PARAPHRASES)
