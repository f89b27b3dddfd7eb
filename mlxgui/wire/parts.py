"""Content parts of the dialects → the engine's parts. Pure: nothing is fetched or opened here.

Images are accepted as data: URLs, as base64 and as http(s) addresses; never as files of the server.
What a picture or a clip is, its first bytes say; what the client calls it is not believed.
Source: OpenAI's API reference (chat, responses), Anthropic's (messages), Ollama's (chat).
"""

import base64
import binascii
from typing import Literal
from urllib.parse import unquote_to_bytes, urlsplit

from msgspec import Struct

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import AudioPart, ImagePart, Part, TextPart

MAX_BYTES = 20 << 20
"""Of one image or clip, decoded."""

IMAGE_FORMATS = "PNG, JPEG, WebP, GIF, BMP and TIFF"
AUDIO_FORMATS = "WAV, MP3, FLAC, OGG, M4A, AAC and WebM"
_TEXT_TYPES = ("text", "input_text", "output_text")
_IMAGE_TYPES = ("image_url", "input_image", "image")

# (bytes, where they stand, name), the first that fits
_IMAGES = [
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"WEBP", 8, "WebP"),
    (b"GIF8", 0, "GIF"),
    (b"BM", 0, "BMP"),
    (b"II*\x00", 0, "TIFF"),
    (b"MM\x00*", 0, "TIFF"),
]
_SOUNDS = [
    (b"WAVE", 8, "WAV"),
    (b"ID3", 0, "MP3"),
    (b"fLaC", 0, "FLAC"),
    (b"OggS", 0, "OGG"),
    (b"ftyp", 4, "MP4"),
    (b"\x1aE\xdf\xa3", 0, "WebM"),
]
_OTHERS = [
    (b"%PDF", 0, "PDF"),
    (b"PK\x03\x04", 0, "ZIP"),
    (b"\x1f\x8b", 0, "gzip"),
    (b"ftypavif", 4, "AVIF"),
    (b"ftyphei", 4, "HEIC"),
    (b"<svg", 0, "SVG"),
    (b"<?xml", 0, "XML"),
    (b"<!DOCTYPE", 0, "HTML"),
    (b"<html", 0, "HTML"),
    (b"{", 0, "JSON"),
]


class ImageUrlIn(Struct):
    """OpenAI's object; `detail` is a wish about resolution, which models here do not know."""

    url: str
    detail: str | None = None


class InputAudioIn(Struct):
    data: str
    format: str = ""


class PartIn(Struct):
    """A content part of chat (`text`, `image_url`, `input_audio`) or of responses (`input_text`,
    `output_text`, `input_image`, `input_audio`)."""

    type: str
    text: str = ""
    refusal: str = ""
    image_url: str | ImageUrlIn | None = None
    image: str | ImageUrlIn | None = None
    file_id: str | None = None
    detail: str | None = None
    input_audio: InputAudioIn | None = None


class SourceIn(Struct):
    """Where Anthropic's `image` block has its picture."""

    type: Literal["base64", "url", "file"]
    media_type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""


def part_from_openai(part: PartIn, param: str) -> Part:
    """`param` is the part's place, such as `messages[0].content[1]`. Raises BadRequest."""
    if part.type in _TEXT_TYPES:
        return TextPart(part.text)
    if part.type == "refusal":
        return TextPart(part.refusal)
    if part.type in _IMAGE_TYPES:
        given = part.image_url if part.image_url is not None else part.image
        if given is None and part.file_id:
            raise Unsupported(
                "There are no stored files here; send the image as a data: URL in image_url.",
                param=f"{param}.file_id",
            )
        if given is None:
            raise BadRequest(f"A part of type “{part.type}” needs image_url.", param=param)
        url = given if isinstance(given, str) else given.url
        return image_from_url(url, f"{param}.image_url")
    if part.type == "input_audio":
        if part.input_audio is None:
            raise BadRequest("A part of type “input_audio” needs input_audio.", param=param)
        sound = part.input_audio
        return audio_from_base64(sound.data, f"{param}.input_audio", sound.format)
    raise Unsupported(
        f"Content of type “{part.type}” is not supported; text, images and audio are.", param=param
    )


def image_from_anthropic(source: SourceIn, param: str) -> ImagePart:
    """Raises BadRequest that names what is wrong below `param`."""
    if source.type == "base64":
        return image_from_base64(source.data, f"{param}.data", source.media_type)
    if source.type == "url":
        return image_from_url(source.url, f"{param}.url")
    raise Unsupported(
        "There are no stored files here; send the image itself, as base64.", param=param
    )


def images_from_ollama(images: list[str], param: str) -> list[ImagePart]:
    """Ollama's `images`: base64 without a prefix."""
    return [image_from_base64(text, f"{param}[{i}]") for i, text in enumerate(images)]


def image_from_url(url: str, param: str) -> ImagePart:
    """A data: URL's picture, or an http(s) address that the door fetches where that is allowed.
    Raises BadRequest."""
    if url[:5].lower() == "data:":
        return ImagePart(data=checked_image(_of_data_url(url, param), param))
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
    except ValueError as error:
        raise BadRequest(f"This is no valid address: {error}.", param=param) from None
    if parts.scheme in ("http", "https") and host:
        return ImagePart(url=url.strip())
    raise BadRequest(
        "An image is sent as a data: URL with base64, or as an http(s) address; files of the"
        " server are never read.",
        param=param,
    )


def image_from_base64(text: str, param: str, media_type: str = "") -> ImagePart:
    """`media_type` is what the client calls it; it is named where the content is no image."""
    if text[:5].lower() == "data:":
        return image_from_url(text, param)
    return ImagePart(data=checked_image(_decoded(text, param), param, media_type))


def audio_from_base64(text: str, param: str, format: str = "") -> AudioPart:
    """`format` is what the client calls it; it is named where the content is no known audio."""
    data = _of_data_url(text, param) if text[:5].lower() == "data:" else _decoded(text, param)
    if _name(data, _OTHERS) or not (_name(data, _SOUNDS) or _is_bare(data)):
        raise BadRequest(f"{_what(data, format)} Send {AUDIO_FORMATS}.", param=param)
    return AudioPart(data)


def checked_image(data: bytes, param: str, media_type: str = "") -> bytes:
    """The same bytes, of a known format and not too large. Raises BadRequest."""
    if len(data) > MAX_BYTES:
        raise BadRequest(_too_large(len(data)), param=param)
    if not _name(data, _IMAGES):
        raise BadRequest(f"{_what(data, media_type)} Send {IMAGE_FORMATS}.", param=param)
    return data


def _of_data_url(url: str, param: str) -> bytes:
    header, comma, body = url[5:].partition(",")
    if not comma:
        raise BadRequest("A data: URL has a comma before its data.", param=param)
    if header.lower().rstrip().endswith(";base64"):
        return _decoded(body, param)
    if len(body) > 3 * MAX_BYTES:
        raise BadRequest(_too_large(len(body) // 3), param=param)
    return unquote_to_bytes(body)


def _decoded(text: str, param: str) -> bytes:
    """Raises BadRequest for what is too large, before it is decoded, and for what is no base64."""
    if len(text) > MAX_BYTES * 1.5:
        raise BadRequest(_too_large(len(text) * 3 // 4), param=param)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"This is not valid base64: {error}.", param=param) from None


def _too_large(size: int) -> str:
    return f"This has {size:,} bytes; at most 20 MB ({MAX_BYTES:,} bytes) are accepted."


def _what(data: bytes, claimed: str) -> str:
    """A sentence on what the bytes are."""
    if not data:
        return "This is empty."
    known = _IMAGES + _SOUNDS
    found = _name(data, _OTHERS) or _name(data, known) or ("MP3" if _is_bare(data) else "")
    said = f" (called {claimed[:40]})" if claimed else ""
    return f"This is {found or 'of an unknown format'}{said}, which cannot be read here."


def _name(data: bytes, table: list[tuple[bytes, int, str]]) -> str:
    start = data[:64]
    for magic, offset, name in table:
        if start[offset : offset + len(magic)] == magic:
            return name
    return ""


def _is_bare(data: bytes) -> bool:
    """MPEG layer III without an ID3 header, or AAC in frames: twelve bits of ones, then the layer.
    MPEG 2.5 has only eleven."""
    if len(data) < 3 or data[0] != 0xFF:
        return False
    return data[1] & 0xE6 == 0xE2 or data[1] & 0xF6 == 0xF0
