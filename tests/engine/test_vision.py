"""The vision backend on two real families: what it writes is what mlx-vlm writes."""

import io
import shutil
from pathlib import Path
from typing import Any

import mlx.nn as nn
import msgspec
import pytest

from mlxgui.engine.backends import make_backend
from mlxgui.engine.backends.vision_model import Language
from mlxgui.engine.backends.vision_trial import can_decode_together, can_read_together
from mlxgui.engine.errors import BadRequest, LoadFailed, NotEnoughMemory, Unsupported
from mlxgui.engine.spec import LoadOptions, ModelSpec
from mlxgui.engine.types import (
    AudioPart,
    Constraint,
    GenerationRequest,
    ImagePart,
    Logprobs,
    Message,
    Part,
    Sampling,
    Started,
    TextPart,
    Tool,
    ToolCall,
    Warned,
)
from tests import tiny_vision
from tests.engine.backend import Result, load_text, run

pytestmark = pytest.mark.model
MAKERS = {"qwen2_vl": tiny_vision.make_qwen2_vl, "gemma3": tiny_vision.make_gemma3}
GREEDY = Sampling(temperature=0)


def load(folder: Path, **options: Any) -> Any:
    backend = make_backend("vision")
    context = options.pop("context_tokens", 4096)
    spec = ModelSpec(
        name=folder.name,
        path=str(folder),
        kind="vision",
        context_tokens=context,
        options=LoadOptions(**options),
    )
    backend.load(spec, lambda fraction: None)
    return backend


@pytest.fixture(scope="module", params=list(MAKERS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("vision") / request.param)


@pytest.fixture(scope="module")
def backend(folder: Path) -> Any:
    return load(folder)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vision.make_qwen2_vl(tmp_path_factory.mktemp("vision") / "qwen")


@pytest.fixture(scope="module")
def seeing(qwen: Path) -> Any:
    return load(qwen)


def image(seed: int, width: int = 80, height: int = 60, kind: str = "PNG") -> ImagePart:
    return ImagePart(tiny_vision.picture(seed, width, height, kind))


def ask(*parts: Part | str, **changes: Any) -> GenerationRequest:
    content = [TextPart(part) if isinstance(part, str) else part for part in parts]
    given = {"sampling": GREEDY, "max_tokens": 12, "enable_thinking": False, **changes}
    return GenerationRequest(messages=[Message("user", content)], **given)


def tokens_of(result: Result) -> list[int]:
    assert result.error is None, result.error
    found = [event for event in result.events if isinstance(event, Logprobs)]
    return [token.id for event in found for token in event.tokens]


def written(backend: Any, request: GenerationRequest) -> list[int]:
    return tokens_of(run(backend, [request])[0])


CASES: dict[str, list[Part | str]] = {
    "no picture": ["Hello, who are you?"],
    "a picture behind": ["What is this?", image(0)],
    "a picture before": [image(1), "What is this?"],
    "two pictures": [image(0), "and", image(1), "differ?"],
    "a wide one": [image(2, 200, 40), "Describe it."],
}


@pytest.fixture(scope="module")
def theirs(folder: Path, backend: Any) -> dict[str, list[int]]:
    """What mlx-vlm itself writes for the same texts and pictures."""
    import mlx_vlm
    from PIL import Image

    model, processor = mlx_vlm.load(str(folder), trust_remote_code=False)
    found = {}
    for name, parts in CASES.items():
        prompt = backend.prompter.prompt(ask(*parts))
        text = backend.prompter.read(prompt.request)[0]
        files = [part.data for part in parts if isinstance(part, ImagePart)]
        images = [Image.open(io.BytesIO(data)) for data in files]
        steps = mlx_vlm.stream_generate(
            model, processor, text, image=images or None, max_tokens=12, temperature=0
        )
        found[name] = [step.token for step in steps]
    return found


@pytest.mark.parametrize("case", CASES)
def test_greedy_answers_are_those_of_mlx_vlm(
    case: str, backend: Any, theirs: dict[str, list[int]]
) -> None:
    ours = written(backend, ask(*CASES[case], logprobs=0))
    assert ours == theirs[case][: len(ours)]
    assert len(ours) >= min(11, len(theirs[case]) - 1)


def test_side_by_side_they_write_what_they_write_alone(folder: Path, backend: Any) -> None:
    seeds = [
        {"sampling": Sampling(temperature=1.0, seed=i)} if i % 2 else {} for i in range(len(CASES))
    ]
    asked = [ask(*parts, logprobs=0, **seeds[i]) for i, parts in enumerate(CASES.values())]
    alone = [written(load(folder, prompt_cache_bytes=0), request) for request in asked]
    assert [tokens_of(result) for result in run(backend, asked)] == alone
    fresh = load(folder)
    assert [tokens_of(result) for result in run(fresh, asked)] == alone


def test_a_prompt_read_in_small_pieces_gives_the_same_answer(folder: Path, backend: Any) -> None:
    pieces = load(folder, prefill_step_tokens=5)
    for parts in CASES.values():
        request = ask(*parts, logprobs=0)
        assert written(pieces, request) == written(backend, request)


def test_the_order_of_pictures_matters(backend: Any) -> None:
    one = written(backend, ask(image(0), image(1), "Which?", logprobs=0))
    other = written(backend, ask(image(1), image(0), "Which?", logprobs=0))
    assert one != other


def test_a_picture_is_encoded_once_and_another_gets_none_of_its_state(folder: Path) -> None:
    backend = load(folder)
    first = written(backend, ask(image(5), "What?", logprobs=0))
    again = written(backend, ask(image(5), "What?", logprobs=0))
    other = written(backend, ask(image(6), "What?", logprobs=0))
    stats = backend.call("stats", {})["encoded_images"]
    assert (stats["images"], stats["misses"], stats["hits"]) == (2, 2, 1)
    assert stats["bytes"] > 0
    assert first == again
    assert other == written(load(folder), ask(image(6), "What?", logprobs=0))
    assert other != first


def test_the_next_turn_reuses_what_was_read_of_the_picture(seeing: Any, qwen: Path) -> None:
    def turn(question: str, *said: Message) -> GenerationRequest:
        messages = [*ask(image(7), "Say a word.").messages, *said]
        asked = [*messages, Message("user", question)] if said else messages
        return GenerationRequest(messages=asked, sampling=GREEDY, max_tokens=8, logprobs=0)

    first = run(seeing, [turn("")])[0]
    more = turn("And now?", Message("assistant", first.text))
    second = run(seeing, [more])[0]
    started = next(event for event in second.events if isinstance(event, Started))
    read = next(event for event in first.events if isinstance(event, Started)).prompt_tokens
    assert started.cached_tokens >= read - 4  # but what opens the answer
    assert tokens_of(second) == written(load(qwen), more)


def test_every_option_of_a_text_model_holds_with_a_picture(seeing: Any) -> None:
    picture = image(8)
    sampling = Sampling(
        temperature=0.8, top_p=0.9, top_k=40, min_p=0.01, seed=3, repetition_penalty=1.3,
        repetition_context_tokens=64, presence_penalty=0.5, frequency_penalty=0.5,
    )  # fmt: skip
    made = run(seeing, [ask(picture, "Go", n=2, sampling=sampling, logprobs=2, max_tokens=6)])[0]
    found = [event for event in made.events if isinstance(event, Logprobs)]
    assert {event.index for event in found} == {0, 1}
    assert all(len(token.alternatives) == 2 for event in found for token in event.tokens)
    assert made.done.usage.completion_tokens == 12
    again = run(seeing, [ask(picture, "Go", n=2, sampling=sampling, logprobs=2, max_tokens=6)])[0]
    assert tokens_of(again) == tokens_of(made)


def test_stop_strings_structures_and_tools_hold_with_a_picture(seeing: Any) -> None:
    picture = image(9)
    whole = run(seeing, [ask(picture, "Go", max_tokens=8)])[0].text
    stop = next(char for char in whole[1:] if char.isascii() and char.isprintable())
    cut = run(seeing, [ask(picture, "Go", max_tokens=8, stop=[stop])])[0]
    assert (cut.text, cut.reason) == (whole[: whole.index(stop)], "stop")
    fixed = ask(picture, "Go", constraint=Constraint("regex", "(yes|no)"), max_tokens=20)
    assert run(seeing, [fixed])[0].text in ("yes", "no")
    tools = [Tool("look", "Look", {"type": "object", "properties": {}})]
    called = run(seeing, [ask(picture, "Go", tools=tools, tool_choice="look", max_tokens=60)])[0]
    assert called.reason == "tool_calls"
    assert next(event for event in called.events if isinstance(event, ToolCall)).name == "look"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_read(kind: str, seeing: Any) -> None:
    assert run(seeing, [ask(image(3, kind=kind), "What?", max_tokens=2)])[0].error is None


def test_image_size_makes_the_picture_fit_a_box(seeing: Any) -> None:
    def count(*size: int) -> int:
        request = ask(image(4, 224, 112), "What?", image_size=list(size), max_tokens=1)
        return run(seeing, [request])[0].done.usage.prompt_tokens

    plain, half, tall = count(), count(112), count(224, 112)
    assert plain - half == 8 * 4 - 4 * 2
    assert half == tall


def test_tokens_are_counted_without_encoding(seeing: Any) -> None:
    request = ask(image(10), "What?", max_tokens=1)
    before = seeing.call("stats", {})["encoded_images"]["misses"]
    asked = {"request": msgspec.to_builtins(request), "pieces": False}
    counted = seeing.call("tokenize", asked)["tokens"]
    assert seeing.call("stats", {})["encoded_images"]["misses"] == before
    assert len(counted) == run(seeing, [request])[0].done.usage.prompt_tokens


def refused(backend: Any, *parts: Part | str, **changes: Any) -> BadRequest:
    error = run(backend, [ask(*parts, **changes)])[0].error
    assert isinstance(error, BadRequest), error
    return error


def test_what_is_no_picture_is_refused_by_its_message(seeing: Any) -> None:
    broken = tiny_vision.picture(0)[:200]
    for part in (
        ImagePart(broken),
        ImagePart(b"\x89PNG\r\n\x1a\nnothing"),
        ImagePart(url="http://x/y"),
    ):
        error = refused(seeing, part, "What?")
        assert error.param == "messages[0].content"
        assert "image" in error.message


def test_a_small_file_of_a_huge_picture_is_refused(seeing: Any) -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, "PNG")
    assert len(file.getvalue()) < 100_000
    assert "81 million pixels" in refused(seeing, ImagePart(file.getvalue()), "What?").message


def test_text_that_stands_for_a_picture_is_refused(seeing: Any) -> None:
    assert "<|image_pad|>" in refused(seeing, image(0), "a <|image_pad|> b").message


def test_sounds_are_refused_by_a_model_that_hears_none(seeing: Any) -> None:
    error = refused(seeing, AudioPart(b"RIFF    WAVE"), "What?")
    assert isinstance(error, Unsupported)
    assert error.param == "messages[0].content"


def test_a_prompt_too_long_with_its_picture_is_refused(qwen: Path) -> None:
    small = load(qwen, context_tokens=30)
    assert refused(small, image(0, 220, 220), "What?").code == "context_length_exceeded"
    assert run(small, [ask("Hi", max_tokens=2)])[0].error is None


def test_a_text_model_refuses_pictures_or_drops_them_and_says_so(text_model: Path) -> None:
    backend = load_text(text_model)
    error = refused(backend, image(0), "What?")
    assert isinstance(error, Unsupported)
    assert error.param == "messages[0].content"
    dropped = run(backend, [ask(image(0), "What?", drop_images=True)])[0]
    assert [type(event) for event in dropped.events[:2]] == [Warned, Started]
    assert dropped.text == run(backend, [ask("What?")])[0].text


def test_a_folder_without_weights_cannot_be_loaded(qwen: Path, tmp_path: Path) -> None:
    shutil.copytree(qwen, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    with pytest.raises(LoadFailed, match="could not be loaded"):
        load(tmp_path / "broken")


def test_no_prompt_is_read_beyond_the_memory_there_is(qwen: Path) -> None:
    backend = load(qwen)
    backend.budget.kv_bytes = backend.budget.row_bytes(60)
    large = ask(*(image(i, 220, 220) for i in range(5)), "What?")
    assert isinstance(run(backend, [large])[0].error, NotEnoughMemory)
    assert run(backend, [ask(image(0), "What?", max_tokens=4)])[0].error is None


def test_after_a_failed_step_pictures_are_read_again(seeing: Any) -> None:
    asked = [ask(image(11), "One", logprobs=0), ask("Two", logprobs=0), ask("Three", logprobs=0)]
    expected = [tokens_of(result) for result in run(seeing, asked)]

    def explode(context: Any, logits: Any) -> Any:
        raise RuntimeError("bomb")

    def poison(step: int) -> None:
        if step == 9:
            seeing.rows[3].choices[0].plan.processors.append(explode)

    results = run(seeing, asked, at_step=poison)
    assert [tokens_of(result) for result in results[:2]] == expected[:2]
    assert results[2].error is not None


def test_rows_of_these_families_can_be_read_and_written_together(backend: Any) -> None:
    assert can_decode_together(backend.model)
    assert can_read_together(backend.model)
    assert not backend.model.is_alone


def test_a_family_that_looks_at_its_picture_with_every_token_is_served_alone() -> None:
    from mlx_vlm.models import mllama

    sizes = {**tiny_vision.SIZES, "cross_attention_layers": [1]}
    config = mllama.ModelConfig(
        text_config=mllama.TextConfig.from_dict(sizes), vision_config={}, model_type="mllama"
    )

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.language_model = mllama.LanguageModel(config.text_config)

    assert not can_decode_together(Language(Whole(), 0))


def test_a_model_that_answers_alone_writes_the_same_in_turn(folder: Path, backend: Any) -> None:
    alone = load(folder, max_parallel=1)
    alone.model.is_alone = True
    alone._new_scheduler()
    asked = [ask(*parts, logprobs=0) for parts in CASES.values()]
    expected = [written(backend, request) for request in asked]
    assert [tokens_of(result) for result in run(alone, asked)] == expected
    assert refused(alone, image(0), "Two", n=2).param == "n"
