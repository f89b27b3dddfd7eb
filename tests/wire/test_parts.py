"""Content parts of every dialect: what becomes an image or a sound, and what is refused."""

import base64

import pytest

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import AudioPart, ImagePart, TextPart
from mlxgui.wire import parts
from mlxgui.wire.parts import ImageUrlIn, InputAudioIn, PartIn, SourceIn, part_from_openai
from tests.tiny_vision import picture

PNG = picture(0)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(20)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


DATA_URL = f"data:image/png;base64,{encoded(PNG)}"


@pytest.mark.parametrize(
    "part",
    [
        PartIn("image_url", image_url=ImageUrlIn(DATA_URL, detail="high")),
        PartIn("image_url", image_url=DATA_URL),
        PartIn("input_image", image_url=DATA_URL, detail="auto"),
        PartIn("input_image", image_url=ImageUrlIn(DATA_URL)),
        PartIn("image", image=DATA_URL),
    ],
)
def test_images_of_openai_and_mlx_vlm_become_their_bytes(part: PartIn) -> None:
    assert part_from_openai(part, "x") == ImagePart(PNG)


@pytest.mark.parametrize("kind", ["text", "input_text", "output_text"])
def test_texts_become_texts(kind: str) -> None:
    assert part_from_openai(PartIn(kind, text="a"), "x") == TextPart("a")
    assert part_from_openai(PartIn("refusal", refusal="no"), "x") == TextPart("no")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_content_says_what_it_is_not_the_name(kind: str) -> None:
    data = picture(0, kind=kind)
    assert parts.image_from_base64(encoded(data), "x", "text/plain") == ImagePart(data)
    assert parts.image_from_url(f"data:,{_percent(data)}", "x") == ImagePart(data)


def _percent(data: bytes) -> str:
    return "".join(f"%{byte:02x}" for byte in data)


def test_base64_may_hold_line_ends() -> None:
    text = encoded(PNG)
    wrapped = "\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    assert parts.image_from_base64(wrapped, "x") == ImagePart(PNG)
    assert parts.image_from_base64(DATA_URL, "x") == ImagePart(PNG)


def test_an_address_is_left_for_the_door_to_fetch() -> None:
    for url in ("http://example.com/a.png", "https://example.com/a.png"):
        assert parts.image_from_url(url, "x") == ImagePart(url=url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "never read"),
        ("/etc/passwd", "never read"),
        ("C:\\a.png", "never read"),
        ("ftp://example.com/a.png", "never read"),
        ("http://", "never read"),
        ("http://[x/a.png", "no valid address"),
        ("", "never read"),
        (encoded(PNG), "never read"),
        ("data:image/png;base64", "comma"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,?!", "base64"),
        ("data:image/png;base64,AAA", "base64"),
        ("data:image/png;base64,é", "base64"),
        (f"data:image/png;base64,{encoded(b'%PDF-1.7')}", "PDF"),
        (f"data:image/png;base64,{encoded(WAV)}", "WAV"),
        (f"data:image/png;base64,{encoded(b'hello there')}", "unknown format"),
    ],
)
def test_other_sources_of_images_are_refused_by_their_field(url: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        parts.image_from_url(url, "messages[0].content[1].image_url")
    assert caught.value.param == "messages[0].content[1].image_url"


def test_twenty_megabytes_decoded_are_the_most() -> None:
    whole = PNG + bytes(parts.MAX_BYTES - len(PNG))
    assert parts.image_from_base64(encoded(whole), "x") == ImagePart(whole)
    for data in (whole + b"\0", whole * 2):
        with pytest.raises(BadRequest, match="at most 20 MB"):
            parts.image_from_base64(encoded(data), "x")
    with pytest.raises(BadRequest, match="at most 20 MB"):
        parts.image_from_url("data:image/png," + "a" * (3 * parts.MAX_BYTES + 1), "x")


@pytest.mark.parametrize(
    "data", [WAV, b"ID3" + bytes(20), b"\xff\xfb\x90" + bytes(20), b"fLaC", b"OggS" + bytes(9),
             b"\0\0\0 ftypM4A ", b"\x1aE\xdf\xa3", b"\xff\xf1\x50" + bytes(20)]
)  # fmt: skip
def test_sounds_are_known_by_their_content(data: bytes) -> None:
    given = PartIn("input_audio", input_audio=InputAudioIn(encoded(data), "wav"))
    assert part_from_openai(given, "x") == AudioPart(data)
    url = f"data:audio/wav;base64,{encoded(data)}"
    assert parts.audio_from_base64(url, "x") == AudioPart(data)


@pytest.mark.parametrize(
    ("data", "words"), [(PNG, "PNG"), (b"\0\0\0 ftypheic", "HEIC"), (b"", "empty"), (b"x", "mp3")]
)
def test_what_is_no_known_sound_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        parts.audio_from_base64(encoded(data), "x", "mp3")


def test_parts_without_their_content_and_other_parts_are_refused() -> None:
    for part in (PartIn("image_url"), PartIn("input_audio")):
        with pytest.raises(BadRequest, match="needs"):
            part_from_openai(part, "x")
    with pytest.raises(Unsupported, match="stored files") as caught:
        part_from_openai(PartIn("input_image", file_id="file-1"), "x")
    assert caught.value.param == "x.file_id"
    with pytest.raises(Unsupported, match="video_url"):
        part_from_openai(PartIn("video_url"), "x")


def test_sources_of_anthropic_and_images_of_ollama_become_images() -> None:
    plain = SourceIn("base64", media_type="image/png", data=encoded(PNG))
    assert parts.image_from_anthropic(plain, "x") == ImagePart(PNG)
    address = SourceIn("url", url="https://example.com/a.png")
    assert parts.image_from_anthropic(address, "x") == ImagePart(url=address.url)
    with pytest.raises(Unsupported, match="stored files"):
        parts.image_from_anthropic(SourceIn("file", file_id="f"), "x")
    assert parts.images_from_ollama([encoded(PNG)], "images") == [ImagePart(PNG)]
    with pytest.raises(BadRequest) as caught:
        parts.images_from_ollama([encoded(PNG), "nope"], "images")
    assert caught.value.param == "images[1]"
