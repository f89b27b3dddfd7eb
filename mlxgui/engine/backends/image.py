"""Pictures from words over mlx-vlm's image pipelines; one picture is one chunk, which ends in its
midst where nobody waits for it."""

import contextlib
import gc
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx
from mlx_vlm.generate.edit_image import (
    ImageEditRequest,
    image_edit_model_class,
    load_image_edit_model,
)
from mlx_vlm.generate.image import (
    ImageGenerationRequest,
    image_generation_model_class,
    load_image_generation_model,
)
from PIL import Image

from mlxgui.engine.backends import image_files
from mlxgui.engine.backends.turns import Chunk, Prepared, TurnBackend
from mlxgui.engine.errors import BadRequest, LoadFailed, Unsupported
from mlxgui.engine.tasks import DrawRequest, Picture

SEEDS = 1 << 32
DEFAULT_PIXELS = 512
Action = Literal["generate", "edit"]


class Drawing(Prepared, kw_only=True):
    pictures: list[Any]
    mask: Any = None


class ImageBackend(TurnBackend):
    takes = DrawRequest
    words = "an image model; it answers at /v1/images/generations"

    def open(self, folder: Path) -> dict[str, Any]:
        self.folder = str(folder)
        self.draws = image_generation_model_class(self.folder) is not None
        self.edits = image_edit_model_class(self.folder) is not None
        if not (self.draws or self.edits):
            raise LoadFailed(f"“{self.spec.name}” is of no family of image models that is known.")
        self.action: Action = "generate" if self.draws else "edit"
        self.model = self._opened(self.action)
        defaults = self.model.default_sampling
        return {
            "draws": self.draws,
            "edits": self.edits,
            "steps": defaults.steps,
            "guidance": defaults.guidance,
        }

    def _opened(self, action: Action) -> Any:
        if action == "generate":
            return load_image_generation_model(self.folder)
        return load_image_edit_model(self.folder)

    def _model_for(self, action: Action) -> Any:
        """The pipelines hold their weights each: one at a time is in memory."""
        if action != self.action:
            self.model = None
            gc.collect()
            mx.clear_cache()
            self.model, self.action = self._opened(action), action
        return self.model

    def check(self, request: DrawRequest) -> Drawing:
        if request.images and not self.edits:
            raise Unsupported(f"“{self.spec.name}” does not edit pictures.", param="model")
        if not request.images and not self.draws:
            raise Unsupported(
                f"“{self.spec.name}” only edits pictures; it answers at /v1/images/edits.",
                param="model",
            )
        pictures = [image_files.opened(data, "image") for data in request.images]
        mask = image_files.mask_of(request.mask) if request.mask else None
        return Drawing(request=request, pictures=pictures, mask=mask)

    def chunks(self, prepared: Drawing) -> Iterator[Chunk]:
        request: DrawRequest = prepared.request
        first = random.randrange(SEEDS) if request.seed is None else request.seed
        for index in range(request.n):
            seed = (first + index) % SEEDS
            try:
                with after_each_evaluation(self.go_on):
                    drawn = (
                        self._edited(prepared, seed)
                        if prepared.pictures
                        else self._drawn(request, seed)
                    )
            except ValueError as error:  # the pipelines' word for sizes and steps they cannot do
                raise BadRequest(f"The model refuses this: {error}") from error
            data = image_files.encoded(drawn, request.format, request.quality)
            yield Chunk([Picture(index, data, drawn.width, drawn.height, seed)])

    def _drawn(self, request: DrawRequest, seed: int) -> Image.Image:
        width, height = request.width or DEFAULT_PIXELS, request.height or DEFAULT_PIXELS
        asked = ImageGenerationRequest(
            request.prompt, width=width, height=height, **_sampling(request, seed)
        )
        return self._model_for("generate").generate(asked).to_pil()

    def _edited(self, prepared: Drawing, seed: int) -> Image.Image:
        request: DrawRequest = prepared.request
        with tempfile.TemporaryDirectory() as folder:  # the pipelines read files
            paths = [Path(folder) / f"{place}.png" for place in range(len(prepared.pictures))]
            for path, picture in zip(paths, prepared.pictures, strict=True):
                picture.save(path)
            asked = ImageEditRequest(
                request.prompt,
                tuple(paths),
                width=request.width or None,
                height=request.height or None,
                **_sampling(request, seed),
            )
            drawn: Image.Image = self._model_for("edit").edit(asked).to_pil()
        if prepared.mask is None:
            return drawn
        return image_files.merged(drawn, prepared.pictures[0], prepared.mask)


def _sampling(request: DrawRequest, seed: int) -> dict[str, Any]:
    extra = {"negative_prompt": request.negative_prompt} if request.negative_prompt else {}
    steps, guidance = request.steps or None, request.guidance
    return {"seed": seed, "steps": steps, "guidance": guidance, "extra": extra}


@contextlib.contextmanager
def after_each_evaluation(check: Callable[[], None]) -> Iterator[None]:
    """The pipelines have no way to be stopped, but all evaluate what each of their steps made."""
    plain = mx.eval

    def evaluated(*arrays: Any) -> None:
        plain(*arrays)
        check()

    mx.eval = evaluated
    try:
        yield
    finally:
        mx.eval = plain


def make() -> ImageBackend:
    return ImageBackend()
