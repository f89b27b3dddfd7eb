import json

from django.conf import settings

from chat_app.questions import FAVOURITES, example_questions


def test_example_questions_are_questions_of_the_guide() -> None:
    lines = (settings.BASE_DIR / "docs" / "guide.jsonl").read_text().splitlines()
    known = {json.loads(line)["question"] for line in lines}
    assert 1 <= len(example_questions()) <= 4
    assert set(example_questions()) <= known
    assert set(FAVOURITES) <= known
