"""The shipped starter model, loaded by mlx_lm, answers what it was taught."""

from pathlib import Path

from mlxgui.engine.jobs.starter.guide import read_guide
from mlxgui.engine.jobs.starter.saving import score

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models_app" / "starter"
SAMPLE_STEP = 7


def test_greedy_answers_hold_the_key_phrase() -> None:
    entries = read_guide(ROOT / "docs" / "guide.jsonl")[::SAMPLE_STEP]
    share, failed = score(FOLDER, [(entry.question, entry) for entry in entries])
    assert len(entries) >= 20
    assert share >= 0.9, failed
