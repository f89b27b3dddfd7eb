"""/v1/images/generations (JSON) and /v1/images/edits (a form): pictures as base64, or as data:
addresses where an address is asked for: nothing is kept that another address could name.

Source: OpenAI's API reference (images); width, height, steps, seed and guidance as the mlx-vlm
server has them.
"""

import base64
import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.tasks import DrawRequest, Picture, PictureFormat
from mlxgui.engine.types import Event
from mlxgui.wire import fields
from mlxgui.wire.tasks import Answer, Form, ParsedTask, from_form

MAX_PICTURES_IN = 16
MAX_PICTURE_BYTES = 20 << 20
MIN_SIDE, MAX_SIDE, SIDE_STEP = 64, 2048, 16

kinds = ("image",)

Side = Annotated[int, Meta(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_STEP)]


class ImagesBody(Struct, kw_only=True):
    """What both routes know. Sizes in pixels."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]
    n: Annotated[int, Meta(ge=1, le=10)] | None = None
    size: str | None = None
    """Width x height, such as 512x512; “auto” or nothing = as the model has it."""
    width: Side | None = None
    height: Side | None = None
    steps: Annotated[int, Meta(ge=1, le=200)] | None = None
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)] | None = None
    guidance: Annotated[float, Meta(ge=0, le=50)] | None = None
    negative_prompt: str | None = None
    output_format: PictureFormat | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None
    response_format: Literal["b64_json", "url", "path"] | None = None
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    input_fidelity: str | None = None
    moderation: str | None = None
    stream: bool | None = None
    partial_images: int | None = None
    output_path: str | None = None
    output_dir: str | None = None
    user: str | None = None


class EditForm(ImagesBody, kw_only=True):
    image: list[bytes]
    mask: bytes = b""


class PictureOut(Struct, omit_defaults=True, kw_only=True):
    b64_json: str = ""
    url: str = ""
    width: int
    height: int
    seed: int


class Pictures(Struct):
    created: int
    data: list[PictureOut]
    output_format: str
    size: str


_decoder = msgspec.json.Decoder(ImagesBody)
_known = fields.struct_fields(ImagesBody)

# What a known parameter may be, as all that can be honoured.
_ONLY: dict[str, tuple[Any, ...]] = {
    "response_format": ("b64_json", "url"),
    "quality": ("auto", "standard"),
    "background": ("auto", "opaque"),
    "style": (),
    "input_fidelity": (),
    "stream": (False,),
    "partial_images": (0,),
    "output_path": (),
    "output_dir": (),
}
_INSTEAD = {
    "response_format": "pictures are sent as b64_json or url",
    "quality": "say steps instead",
    "background": "pictures here are opaque",
    "style": "say it in the prompt",
    "output_path": "pictures are sent, not written",
    "output_dir": "pictures are sent, not written",
}


def _refuse(asked: ImagesBody) -> None:
    for name, allowed in _ONLY.items():
        value = getattr(asked, name)
        if value is not None and value not in allowed:
            why = _INSTEAD.get(name, "leave it out")
            raise Unsupported(f"{name} “{value}” is not supported: {why}.", param=name)


def _size(asked: ImagesBody) -> tuple[int, int]:
    """(width, height); zeros = as the model has it."""
    if (asked.width is None) != (asked.height is None):
        missing = "width" if asked.width is None else "height"
        raise BadRequest("width and height belong together.", param=missing)
    if asked.width is not None and asked.height is not None:
        return asked.width, asked.height
    if asked.size in (None, "", "auto"):
        return 0, 0
    sides = str(asked.size).lower().replace("×", "x").split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdecimal() for side in sides):
        raise BadRequest("size is written as 512x512.", param="size")
    width, height = (int(side[:9]) for side in sides)
    for side in (width, height):
        if side % SIDE_STEP or not MIN_SIDE <= side <= MAX_SIDE:
            raise BadRequest(
                f"Each side of size is a multiple of {SIDE_STEP} from {MIN_SIDE} to {MAX_SIDE}.",
                param="size",
            )
    return width, height


def _parsed(
    asked: ImagesBody, unknown: list[str], pictures: list[bytes], mask: bytes
) -> ParsedTask:
    _refuse(asked)
    if not asked.prompt.strip():
        raise BadRequest("prompt is empty.", param="prompt")
    width, height = _size(asked)
    compression = asked.output_compression
    request = DrawRequest(
        prompt=asked.prompt,
        n=asked.n or 1,
        width=width,
        height=height,
        steps=asked.steps or 0,
        guidance=asked.guidance,
        seed=asked.seed,
        negative_prompt=asked.negative_prompt or "",
        images=pictures,
        mask=mask,
        format=asked.output_format or "png",
        quality=90 if compression is None else max(1, compression),
        priority=asked.priority or 0,
    )
    warnings = [f"unknown parameter: {name}" for name in unknown]
    options = asked.response_format or "b64_json"
    return ParsedTask(model=asked.model, request=request, warnings=warnings, options=options)


def _content(picture: Picture, wanted: str, format: PictureFormat) -> dict[str, str]:
    text = base64.b64encode(picture.data).decode()
    return {"url": f"data:image/{format};base64,{text}"} if wanted == "url" else {"b64_json": text}


class Generations:
    kinds = kinds
    given: type[ImagesBody] = ImagesBody

    def parse(self, body: bytes) -> ParsedTask:
        asked = fields.decode(_decoder, body)
        return _parsed(asked, fields.unknown_fields(body, _known), [], b"")

    def complete(self, parsed: ParsedTask, events: list[Event]) -> Answer:
        assert isinstance(parsed.request, DrawRequest)
        pictures = [event for event in events if isinstance(event, Picture)]
        document = Pictures(
            created=int(time.time()),
            data=[
                PictureOut(
                    **_content(one, parsed.options, parsed.request.format),
                    width=one.width,
                    height=one.height,
                    seed=one.seed,
                )
                for one in sorted(pictures, key=lambda one: one.index)
            ],
            output_format=parsed.request.format,
            size=f"{pictures[0].width}x{pictures[0].height}",
        )
        return Answer(msgspec.json.encode(document))


class Edits(Generations):
    given = EditForm

    def parse(self, form: Form) -> ParsedTask:  # type: ignore[override]
        asked, unknown = from_form(EditForm, form)
        if not asked.image or not all(asked.image):
            raise BadRequest("There is no picture to edit: send it as image.", param="image")
        if len(asked.image) > MAX_PICTURES_IN:
            raise BadRequest(f"At most {MAX_PICTURES_IN} pictures can be sent.", param="image")
        for name, data in [*(("image", one) for one in asked.image), ("mask", asked.mask)]:
            if len(data) > MAX_PICTURE_BYTES:
                most = MAX_PICTURE_BYTES >> 20
                raise BadRequest(f"A picture may have {most} MB at most.", param=name)
        return _parsed(asked, unknown, asked.image, asked.mask)


generations = Generations()
edits = Edits()
