"""`manage.py build_starter` on a guide of a few lines: it learns them, or says that it did not."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command

pytestmark = pytest.mark.model


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    animals = {"dog": "barks", "cat": "purrs", "cow": "moos"}
    rows = [
        {
            "question": f"What does a {animal} do?",
            "variants": [f"{animal}?", f"Tell me what the {animal} does"],
            "answer": f"It {sound}.",
            "key": sound,
        }
        for animal, sound in animals.items()
    ]
    file = tmp_path / "guide.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_it_trains_saves_and_checks(
    guide: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "starter"
    call_command("build_starter", guide=str(guide), output=str(folder), steps=75)
    assert "100.0% of the guide's questions answered" in capfd.readouterr().out
    assert {"model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"} <= {
        file.name for file in folder.iterdir()
    }


def test_too_few_right_answers_are_a_failure(guide: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("build_starter", guide=str(guide), output=str(tmp_path / "out"), steps=1)
    assert ended.value.code == 1
