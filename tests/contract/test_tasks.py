"""The official OpenAI client with models that do not chat, beside one that does."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from openai import APIStatusError, BadRequestError, OpenAI

from mlxgui.engine.backends.hearing_clips import Clip
from tests import tiny_senses
from tests.live import LiveServer
from tests.tiny_senses import HEARD, clip, contained, picture

pytestmark = pytest.mark.model

SAID = HEARD.strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("senses")
    made = [
        tiny_senses.make_embedder(folder / "lexicon"),
        tiny_senses.make_reranker(folder / "ranker"),
        tiny_senses.make_ears(folder / "ears", languages=False),
        tiny_senses.make_ears(folder / "world"),
        tiny_senses.make_voice(folder / "voice"),
        tiny_senses.make_painter(folder / "painter"),
    ]
    home = tmp_path_factory.mktemp("home")
    with LiveServer(home, *made) as live:
        live.send("PUT", "/v1/settings/max_concurrent_models", {"value": 10})
        yield live


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def refused(call: Any, *given: Any, **asked: Any) -> APIStatusError:
    with pytest.raises(BadRequestError) as caught:
        call(*given, **asked)
    assert caught.value.type == "invalid_request_error" and caught.value.message
    return caught.value


# -- embeddings -----------------------------------------------------------------------------------


def test_embeddings_put_similar_before_unrelated(client: OpenAI) -> None:
    texts = ["a cat sits on the mat", "a kitten rests on a rug", "stock markets fell"]
    answer = client.embeddings.create(model="lexicon", input=texts, encoding_format="float")
    cat, kitten, stocks = (np.array(one.embedding) for one in answer.data)
    assert cat @ kitten > 0.8 > 0.2 > cat @ stocks
    assert [one.index for one in answer.data] == [0, 1, 2] and answer.model == "lexicon"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 10


def test_base64_is_the_same_vector(client: OpenAI, server: LiveServer) -> None:
    """The client itself asks for base64, and decodes it."""
    numbers = client.embeddings.create(model="lexicon", input="rain", encoding_format="float")
    decoded = client.embeddings.create(model="lexicon", input="rain")
    assert np.allclose(numbers.data[0].embedding, decoded.data[0].embedding)
    body = {"model": "lexicon", "input": "rain", "encoding_format": "base64", "dimensions": 8}
    status, raw = server.send("POST", "/embeddings", body)
    vector = np.frombuffer(base64.b64decode(raw["data"][0]["embedding"]), "<f4")
    assert (status, vector.shape) == (200, (8,)) and np.linalg.norm(vector) == pytest.approx(1)


def test_tokens_can_be_sent(client: OpenAI) -> None:
    one: Any = client.embeddings.create(model="lexicon", input=[70, 71])
    two: Any = client.embeddings.create(model="lexicon", input=[[70, 71], [72]])
    assert len(one.data) == 1 and len(two.data) == 2
    assert np.allclose(one.data[0].embedding, two.data[0].embedding)


BAD_INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"input": ""}, "input"),
    ({"input": []}, "input"),
    ({"input": ["fine", " "]}, "input[1]"),
    ({"input": ["a"] * 2049}, "input"),
    ({"input": [["a"]]}, "input[0][0]"),
    ({"input": ["a", 5]}, "input[1]"),
    ({"input": [10**9]}, "input[0]"),
    ({"input": ["cat " * 300]}, "input[0]"),
    ({"input": "a", "dimensions": 0}, "dimensions"),
    ({"input": "a", "dimensions": 999}, "dimensions"),
    ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
]


@pytest.mark.parametrize(("change", "param"), BAD_INPUTS, ids=range(len(BAD_INPUTS)))
def test_bad_embedding_requests_are_named(
    client: OpenAI, change: dict[str, Any], param: str
) -> None:
    error = refused(client.embeddings.create, model="lexicon", **change)
    assert error.param == param, error.message


def test_a_long_input_is_cut_when_asked(server: LiveServer) -> None:
    body = {"model": "lexicon", "input": "cat " * 300, "truncate": True, "size": 3}
    answer = server.ask("/v1/embeddings", "POST", body)
    assert answer.status == 200 and answer.json()["usage"]["prompt_tokens"] == 128
    assert answer.headers["Warnings"] == "unknown parameter: size; input[0] was cut to 128 tokens"


# -- the wrong door -------------------------------------------------------------------------------


def test_a_model_of_another_kind_says_where_it_answers(client: OpenAI) -> None:
    hello: list[Any] = [{"role": "user", "content": "hello"}]
    error = refused(client.embeddings.create, model="starter", input="hello")
    assert error.param == "model"
    assert "“starter” is a text model. It answers at /v1/chat/completions." in error.message
    error = refused(client.chat.completions.create, model="lexicon", messages=hello)
    assert "is an embedding model. It answers at /v1/embeddings." in error.message
    error = refused(client.audio.speech.create, model="ears", input="hello", voice="zebra")
    assert "is a speech recognition model" in error.message
    assert "/v1/audio/speech needs a speech model." in error.message
    error = refused(client.images.generate, model="ranker", prompt="a cat")
    assert "/v1/rerank" in error.message


# -- rerank ---------------------------------------------------------------------------------------


def test_documents_come_back_sorted(server: LiveServer) -> None:
    documents = ["a cat on a mat", {"text": "stock markets fell"}, "rain"]
    body = {"model": "ranker", "query": "cat", "documents": documents, "return_documents": True}
    status, answer = server.send("POST", "/v1/rerank", body)
    assert status == 200 and answer["model"] == "ranker"
    scores = [one["relevance_score"] for one in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    texts = [one if isinstance(one, str) else one["text"] for one in documents]
    assert all(one["document"]["text"] == texts[one["index"]] for one in answer["results"])
    assert answer["usage"]["total_tokens"] > 10
    assert answer["meta"]["billed_units"]["search_units"] == 1
    status, best = server.send("POST", "/rerank", {**body, "top_n": 1, "return_documents": False})
    assert best["results"] == [{k: answer["results"][0][k] for k in ("index", "relevance_score")}]


BAD_RANKINGS: list[tuple[dict[str, Any], str]] = [
    ({"query": ""}, "query"),
    ({"documents": []}, "documents"),
    ({"documents": ["a", ""]}, "documents[1]"),
    ({"documents": [{"image": "x.png"}]}, "documents[0]"),
    ({"documents": ["a"] * 1001}, "documents"),
    ({"top_n": 0}, "top_n"),
    ({"query": "cat " * 300}, "query"),
    ({"instruction": "find"}, "instruction"),
]


@pytest.mark.parametrize(("change", "param"), BAD_RANKINGS, ids=range(len(BAD_RANKINGS)))
def test_bad_rankings_are_named(server: LiveServer, change: dict[str, Any], param: str) -> None:
    body = {"model": "ranker", "query": "cat", "documents": ["a"], **change}
    status, answer = server.send("POST", "/v1/rerank", body)
    assert (status, answer["error"]["param"]) == (400, param)


# -- transcriptions -------------------------------------------------------------------------------


def test_a_clip_becomes_text(client: OpenAI) -> None:
    for name, data in (
        ("a.mp3", clip(2, "MP3")),
        ("a.ogg", clip(2, "OGG")),
        ("a.webm", contained(2, "webm", "libopus")),
    ):
        answer: Any = client.audio.transcriptions.create(model="ears", file=(name, data))
        assert answer.text == SAID
        assert answer.usage.type == "duration" and answer.usage.seconds == pytest.approx(2, abs=0.1)


def test_text_and_subtitles(client: OpenAI) -> None:
    def of(format: Any) -> Any:
        file = ("a.wav", clip(2))
        return client.audio.transcriptions.create(model="ears", file=file, response_format=format)

    assert of("text") == f"{SAID}\n"
    assert of("srt") == f"1\n00:00:00,000 --> 00:00:02,000\n{SAID}\n\n"
    assert of("vtt") == f"WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{SAID}\n\n"


def test_verbose_json_has_segments_and_words(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="world",
        file=("a.wav", clip(2)),
        language="de",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.text, answer.language, answer.duration) == (SAID, "de", 2.0)
    assert answer.segments is not None and answer.words is not None
    assert [segment.text.strip() for segment in answer.segments] == [SAID]
    assert [word.word for word in answer.words] == SAID.split()
    only = client.audio.transcriptions.create(
        model="ears", file=("a.wav", clip(2)), response_format="verbose_json"
    )
    assert only.words is None and only.segments is not None


def test_a_long_clip_streams_as_it_is_heard(client: OpenAI) -> None:
    stream = client.audio.transcriptions.create(model="ears", file=("a", clip(35)), stream=True)
    events: list[Any] = list(stream)
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) == 2 and events[-1].type == "transcript.text.done"
    assert "".join(deltas) == events[-1].text == " ".join([SAID] * 2)


def test_translations_are_in_english(server: LiveServer) -> None:
    asked = {"model": "world", "response_format": "verbose_json"}
    files = {"file": ("a.wav", clip(1))}
    answer = httpx.post(f"{server.url}/v1/audio/translations", data=asked, files=files, timeout=30)
    found = answer.json()
    assert (found["task"], found["text"]) == ("translate", SAID)
    assert found["segments"][0]["text"].strip() == SAID


BAD_CLIPS: list[tuple[bytes, dict[str, Any], str]] = [
    (b"", {}, "file"),
    (b"not a sound", {}, "file"),
    (clip(1, loud=0.0), {}, "file"),
    (clip(1)[:30], {}, "file"),
    (b"\0\0\0\x20ftypM4A " + b"\0" * 64, {}, "file"),
    (clip(1), {"response_format": "docx"}, "response_format"),
    (clip(1), {"temperature": 5}, "temperature"),
    (clip(1), {"language": "klingon"}, "language"),
    (clip(1), {"timestamp_granularities": ["word"]}, "timestamp_granularities"),
    (clip(1), {"include": ["logprobs"]}, "include"),
    (clip(1), {"response_format": "srt", "stream": True}, "response_format"),
    (clip(1), {"extra_body": {"chunking_strategy": "server_vad"}}, "chunking_strategy"),
]


@pytest.mark.parametrize(("data", "change", "param"), BAD_CLIPS, ids=range(len(BAD_CLIPS)))
def test_bad_clips_are_named(
    client: OpenAI, data: bytes, change: dict[str, Any], param: str
) -> None:
    create: Any = client.audio.transcriptions.create
    assert refused(create, model="ears", file=("a.wav", data), **change).param == param


def test_a_form_that_is_none_is_a_clear_refusal(server: LiveServer) -> None:
    url = f"{server.url}/v1/audio/transcriptions"
    files = {"file": ("a.wav", clip(1))}
    with httpx.Client(timeout=30) as http:
        answers = [
            http.post(url, json={"model": "ears"}),
            http.post(url, content=b"x", headers={"Content-Type": "multipart/form-data"}),
            http.post(url, files=files),
            http.post(url, data={"model": "ears"}, files={"other": b"x"}),
            http.post(url, data={"model": ["ears", "voice"]}, files=files),
        ]
        assert [answer.status_code for answer in answers] == [400] * 5
        assert [answer.json()["error"]["param"] for answer in answers[4:]] == ["model"]
        large = {"file": ("a.wav", b"\0" * (27 << 20))}
        assert http.post(url, data={"model": "ears"}, files=large).status_code == 413
        edge = {"file": ("a.wav", b"RIFF" + b"\0" * (25 << 20))}
        assert http.post(url, data={"model": "ears"}, files=edge).status_code == 400
        assert http.get(url).status_code == 405
        extra = http.post(url, data={"model": "ears", "max_tokens": "5"}, files=files)
        assert extra.headers["Warnings"] == "unknown parameter: max_tokens"


# -- speech ---------------------------------------------------------------------------------------

SOUNDS = {"mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "opus": "audio/ogg"}


@pytest.mark.parametrize("format", SOUNDS)
def test_speech_is_the_file_it_says(client: OpenAI, format: Any) -> None:
    answer = client.audio.speech.create(
        model="voice", input="Hello zoo.", voice="zebra", response_format=format
    )
    assert answer.response.headers["content-type"] == SOUNDS[format]
    found = Clip(answer.content)
    list(found.windows())
    assert found.seconds == pytest.approx(4, abs=0.2)


def test_pcm_is_24_khz(client: OpenAI) -> None:
    answer = client.audio.speech.create(
        model="voice", input="Hello zoo.", voice="default", response_format="pcm", speed=2
    )
    assert len(answer.content) / 48_000 == pytest.approx(2, abs=0.2)


def test_speech_streams_with_one_header(client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="voice", input="Hello zoo.", voice="zebra", response_format="wav",
        stream_format="audio",
    ) as answer:  # fmt: skip
        pieces = list(answer.iter_bytes())
    data = b"".join(pieces)
    assert len(pieces) > 2 and data.count(b"RIFF") == 1 and len(data) == 44 + 4 * 32_000


def test_speech_as_events(client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="voice", input="Hello zoo.", voice="zebra", stream_format="sse"
    ) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done" and events[-1]["usage"]["total_tokens"] == 2
    data = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(list(Clip(data).windows())) == 1


BAD_SPEECHES: list[tuple[dict[str, Any], str]] = [
    ({"input": ""}, "input"),
    ({"input": "  "}, "input"),
    ({"input": "x" * 4097}, "input"),
    ({"voice": "alloy"}, "voice"),
    ({"voice": {"id": "nobody"}}, "voice"),
    ({"speed": 5}, "speed"),
    ({"response_format": "aac"}, "response_format"),
    ({"response_format": "mid"}, "response_format"),
    ({"instructions": "whisper"}, "instructions"),
    ({"extra_body": {"ref_audio": "/etc/passwd"}}, "ref_audio"),
]


@pytest.mark.parametrize(("change", "param"), BAD_SPEECHES, ids=range(len(BAD_SPEECHES)))
def test_bad_speeches_are_named(client: OpenAI, change: dict[str, Any], param: str) -> None:
    asked = {"model": "voice", "input": "Hello.", "voice": "zebra", **change}
    error = refused(client.audio.speech.create, **asked)
    assert error.param == param, error.message


def test_voices_are_listed(server: LiveServer) -> None:
    assert server.get("/v1/audio/voices?model=voice") == {
        "model": "voice",
        "voices": ["default", "zebra"],
    }
    assert server.ask("/audio/voices").status == 400
    assert server.ask("/audio/voices?model=ears").status == 400


# -- pictures -------------------------------------------------------------------------------------


def test_pictures_are_drawn(client: OpenAI) -> None:
    answer = client.images.generate(
        model="painter", prompt="a cat", n=2, extra_body={"width": 64, "height": 64, "steps": 2}
    )
    assert answer.data is not None and len(answer.data) == 2
    from PIL import Image

    drawn = [Image.open(io.BytesIO(base64.b64decode(one.b64_json or ""))) for one in answer.data]
    assert [one.size for one in drawn] == [(64, 64)] * 2 and answer.size == "64x64"


def test_a_picture_is_edited(client: OpenAI) -> None:
    answer = client.images.edit(
        model="painter",
        prompt="a dog",
        image=("a.png", picture(64, 48)),
        mask=("m.png", picture(64, 48, (0, 0, 0, 255))),
        extra_body={"steps": 2, "output_format": "webp"},
        response_format="url",
    )
    assert answer.data is not None and answer.size == "64x48"
    start, _, data = (answer.data[0].url or "").partition(",")
    assert start == "data:image/webp;base64" and answer.data[0].b64_json is None
    assert base64.b64decode(data)[8:12] == b"WEBP"


BAD_DRAWINGS: list[tuple[dict[str, Any], str | None]] = [
    ({"prompt": " "}, "prompt"),
    ({"n": 11}, "n"),
    ({"size": "big"}, "size"),
    ({"size": "100x100"}, "size"),
    ({"size": "99999x64"}, "size"),
    ({"response_format": "path"}, "response_format"),
    ({"quality": "hd"}, "quality"),
    ({"style": "vivid"}, "style"),
    ({"background": "transparent"}, "background"),
    ({"stream": True}, "stream"),
    ({"extra_body": {"output_dir": "/tmp"}}, "output_dir"),
    ({"extra_body": {"width": 64}}, "height"),
    ({"extra_body": {"seed": -1}}, "seed"),
    ({"size": "64x64", "extra_body": {"steps": 1}}, None),
]


@pytest.mark.parametrize(("change", "param"), BAD_DRAWINGS, ids=range(len(BAD_DRAWINGS)))
def test_bad_drawings_are_named(client: OpenAI, change: dict[str, Any], param: str | None) -> None:
    error = refused(client.images.generate, **{"model": "painter", "prompt": "a cat", **change})
    assert error.param == param, error.message


def test_bad_edits_are_named(client: OpenAI) -> None:
    def edit(**change: Any) -> Any:
        asked = {"model": "painter", "prompt": "a dog", "image": ("a.png", picture()), **change}
        return refused(client.images.edit, **asked).param

    assert edit(image=("a.png", b"")) == "image"
    assert edit(image=("a.png", b"no picture")) == "image"
    assert edit(image=[("a.png", picture())] * 17) == "image"
    assert edit(mask=("m.png", picture())) == "mask"


# -- all together ---------------------------------------------------------------------------------


def test_all_kinds_are_loaded_beside_each_other_and_listed(
    client: OpenAI, server: LiveServer
) -> None:
    client.embeddings.create(model="lexicon", input="cat")
    client.audio.transcriptions.create(model="ears", file=("a.wav", clip(1)))
    hello: list[Any] = [{"role": "user", "content": "hello"}]
    client.chat.completions.create(model="starter", messages=hello, max_tokens=4)
    kinds = {model["name"]: model for model in server.get("/v1/manager/models")["models"]}
    assert {"lexicon", "ranker", "ears", "voice", "painter", "starter"} <= set(kinds)
    assert len(server.workers()) >= 3
