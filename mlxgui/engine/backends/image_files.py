"""Pictures in and out: what was uploaded is opened with bounds, what was drawn is encoded."""

import io
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.tasks import PictureFormat

MAX_PIXELS = 64_000_000
READABLE = ("PNG", "JPEG", "WEBP")


def opened(data: bytes, param: str) -> Image.Image:
    """Raises BadRequest for what is no picture, is damaged, or unpacks to too much."""
    try:
        picture = Image.open(io.BytesIO(data), formats=READABLE)
        if picture.width * picture.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        picture.load()
    except Image.DecompressionBombError as error:
        most = MAX_PIXELS // 1_000_000
        raise BadRequest(f"A picture may have {most} million pixels.", param=param) from error
    except UnidentifiedImageError as error:
        raise BadRequest("This is no picture: send PNG, JPEG or WebP.", param=param) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise BadRequest(f"The picture is damaged: {error}", param=param) from error
    return ImageOps.exif_transpose(picture)


def mask_of(data: bytes) -> Image.Image:
    """White where the mask is transparent, so where to draw; soft edges stay soft."""
    picture = opened(data, "mask")
    if "A" not in picture.getbands():
        raise BadRequest(
            "The mask has no transparency: make it transparent where the picture may change.",
            param="mask",
        )
    return ImageOps.invert(picture.getchannel("A"))


def merged(drawn: Image.Image, original: Image.Image, mask: Image.Image) -> Image.Image:
    """The drawing where the mask says so, the original everywhere else."""
    size = drawn.size
    kept = original.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return Image.composite(drawn.convert("RGB"), kept, mask.resize(size))


def encoded(picture: Image.Image, format: PictureFormat, quality: int) -> bytes:
    options: dict[str, Any] = {} if format == "png" else {"quality": quality}
    memory = io.BytesIO()
    picture.save(memory, format=format.upper(), **options)
    return memory.getvalue()
