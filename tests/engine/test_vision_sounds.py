"""A model that sees and hears: sounds in messages, on a tiny real Gemma 4."""

from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import AudioPart, GenerationRequest, ImagePart, TextPart
from tests import tiny_vision
from tests.engine.backend import run
from tests.engine.test_vision import written
from tests.engine.test_vision_options import TALK, ask, load, text_of
from tests.tiny_senses import clip, contained

pytestmark = [
    pytest.mark.model,
    # Of Gemma's own sizes: 128 filters over 257 frequencies.
    pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values"),
]

LOUD, QUIET = AudioPart(clip(1)), AudioPart(clip(0.5, loud=0.02))
PICTURE = ImagePart(tiny_vision.picture(1, 80, 60))
WHAT = TextPart("What is this?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vision.make_gemma4(tmp_path_factory.mktemp("sounds") / "hearing")


@pytest.fixture(scope="module")
def hearing(folder: Path) -> Any:
    return load(folder)


def refused(backend: Any, request: GenerationRequest) -> BadRequest:
    (found,) = run(backend, [request])
    assert isinstance(found.error, BadRequest), found.error
    assert found.error.param == "messages[0].content"
    return found.error


def test_what_is_heard_is_what_mlx_vlm_hears(folder: Path, hearing: Any) -> None:
    import mlx_vlm

    model, processor = mlx_vlm.load(str(folder), trust_remote_code=False)
    for parts in ([LOUD, WHAT], [WHAT, LOUD, QUIET], [LOUD, PICTURE, WHAT]):
        request = ask(*parts, TextPart("Say it."), logprobs=0)
        prompt = hearing.prompter.prompt(request)
        steps = mlx_vlm.stream_generate(
            model, processor, prompt.text, image=prompt.pictures or None,
            audio=prompt.sounds, max_tokens=12, temperature=0,
        )  # fmt: skip
        theirs = [step.token for step in steps]
        ours = written(hearing, request)
        assert ours == theirs[: len(ours)] and len(ours) >= 11


def test_every_sound_and_its_place_counts(hearing: Any) -> None:
    asked = [[LOUD, WHAT], [QUIET, WHAT], [LOUD, QUIET, WHAT], [QUIET, LOUD, WHAT], [WHAT]]
    results = run(hearing, [ask(*parts) for parts in asked])
    assert len({result.text for result in results}) == len(asked)
    tokens = [result.done.usage.prompt_tokens for result in results]
    assert tokens[0] - tokens[4] == 25 + 2  # a row for each 40 ms, and two marks
    assert [result.text for result in results] == [text_of(hearing, ask(*p)) for p in asked]


def test_a_sound_may_come_in_any_container(hearing: Any) -> None:
    for data in (clip(1, "MP3"), contained(1, "mp4", "aac"), contained(1, "webm", "libopus")):
        assert text_of(hearing, ask(AudioPart(data), WHAT, max_tokens=2))


def test_what_cannot_be_heard_is_refused_by_its_message(
    hearing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "damaged" in refused(hearing, ask(AudioPart(clip(1)[:30]), WHAT)).message
    assert "hears 30 seconds" in refused(hearing, ask(AudioPart(clip(31)), WHAT)).message
    monkeypatch.setattr(hearing.prompter, "sounds", 1)
    assert isinstance(refused(hearing, ask(LOUD, QUIET, WHAT)), Unsupported)
    assert text_of(hearing, TALK)


def test_a_size_of_the_family_that_hears_nothing_says_so(tmp_path: Path) -> None:
    deaf = load(tiny_vision.make_gemma4(tmp_path / "deaf", hears=False))
    assert "hears no audio" in refused(deaf, ask(LOUD, WHAT)).message
    assert text_of(deaf, ask(PICTURE, WHAT))
