"""Pictures: drawn by a tiny Z-Image, encoded as asked, changed only where a mask says so."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlxgui.engine import protocol
from mlxgui.engine.backends import image_files, make_backend
from mlxgui.engine.errors import BadRequest, LoadFailed
from mlxgui.engine.tasks import DrawRequest, Picture
from mlxgui.engine.worker import Loop, Pipe, read
from tests import tiny_senses
from tests.engine.tasks import load, of, one
from tests.tiny_senses import picture

SMALL: dict[str, Any] = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2}
OPAQUE, CLEAR = (0, 0, 0, 255), (0, 0, 0, 0)


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load("image", tiny_senses.make_painter(tmp_path_factory.mktemp("m") / "painter"))


def pictures(backend: Any, **asked: Any) -> list[Picture]:
    return of(one(backend, DrawRequest(**{**SMALL, **asked})), Picture)


def pixels(drawn: Picture) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(drawn.data)).convert("RGB"))


@pytest.mark.model
def test_the_same_seed_draws_the_same_picture_and_the_next_another(painter: Any) -> None:
    first, second = pictures(painter, seed=7, n=2)
    assert [(p.index, p.seed, p.width, p.height) for p in (first, second)] == [
        (0, 7, 64, 64), (1, 8, 64, 64),
    ]  # fmt: skip
    (again,) = pictures(painter, seed=8)
    assert np.array_equal(pixels(again), pixels(second))
    assert not np.array_equal(pixels(first), pixels(second))


@pytest.mark.model
@pytest.mark.parametrize(("format", "start"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8"),
                                               ("webp", b"RIFF")])  # fmt: skip
def test_a_picture_has_the_format_that_was_asked_for(
    painter: Any, format: str, start: bytes
) -> None:
    (drawn,) = pictures(painter, format=format, quality=70, seed=1)
    assert drawn.data.startswith(start) and pixels(drawn).shape == (64, 64, 3)


@pytest.mark.model
def test_an_edit_keeps_the_size_of_its_picture(painter: Any) -> None:
    (drawn,) = pictures(painter, images=[picture(80, 48)], width=0, height=0, seed=1)
    assert (drawn.width, drawn.height) == (80, 48)
    assert not np.array_equal(pixels(drawn), np.array(Image.open(io.BytesIO(picture(80, 48)))))


@pytest.mark.model
def test_what_a_mask_covers_stays_as_it_was(painter: Any) -> None:
    asked: dict[str, Any] = {"images": [picture(64, 64)], "width": 0, "height": 0, "seed": 1}
    (kept,) = pictures(painter, **asked, mask=picture(64, 64, OPAQUE))
    assert (pixels(kept) == (200, 30, 30)).all()
    (free,) = pictures(painter, **asked, mask=picture(64, 64, CLEAR))
    (plain,) = pictures(painter, **asked)
    assert np.array_equal(pixels(free), pixels(plain))
    with pytest.raises(BadRequest, match="no transparency") as caught:
        pictures(painter, **asked, mask=picture(64, 64))
    assert caught.value.param == "mask"


@pytest.mark.model
def test_the_pipelines_refusals_are_bad_requests(painter: Any) -> None:
    for change, says in (({"steps": 1}, "steps"), ({"width": 72}, "multiple of 16"),
                         ({"guidance": 7.0}, "guidance")):  # fmt: skip
        with pytest.raises(BadRequest, match=says):
            pictures(painter, **change)
    assert pictures(painter, seed=1)


@pytest.mark.model
def test_what_comes_after_the_first_picture_can_be_cancelled(painter: Any) -> None:
    painter.add(1, painter.prepare(DrawRequest(**SMALL, n=10)))
    painter.step()
    assert [type(event) for _, event in painter.step()] == [Picture]
    painter.cancel(1)
    assert not painter.is_busy


@pytest.mark.model
def test_a_picture_is_given_up_in_the_midst_of_its_steps(
    painter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx
    from mlx_vlm.models.z_image.transformer import ZImageTransformer

    plain, whole = mx.eval, ZImageTransformer.__call__
    steps: list[Any] = []

    def counted(*given: Any) -> Any:
        steps.append(given)
        if len(steps) == 3:
            painter.withdraw(1)  # as the reader does, while the mlx thread draws
        return whole(*given)

    monkeypatch.setattr(ZImageTransformer, "__call__", counted)
    painter.add(1, painter.prepare(DrawRequest(**{**SMALL, "steps": 50})))
    painter.add(2, painter.prepare(DrawRequest(**SMALL)))
    painter.step()
    assert painter.step() == [] and len(steps) == 3
    painter.cancel(1)
    assert [(id, type(event)) for id, event in painter.step()] == [(2, Picture)]
    painter.cancel(2)
    assert not painter.is_busy and mx.eval is plain and not painter._withdrawn


def test_the_reader_tells_the_backend_before_the_mlx_thread_has_time() -> None:
    backend = make_backend("image")
    loop = Loop(backend, Pipe(io.BytesIO()))
    read(io.BytesIO(protocol.encode(protocol.Cancel(7))), loop, backend.prepare)
    assert backend._withdrawn == {7}
    loop.inbox.get_nowait()()
    assert not backend._withdrawn


BAD = [
    (b"", "no picture"),
    (b"GIF89a" + b"\0" * 40, "no picture"),
    (picture()[:60], "damaged|no picture"),
    (picture(format="JPEG")[:200], "damaged|no picture"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
]


@pytest.mark.parametrize(("data", "says"), BAD)
def test_an_upload_that_is_no_picture_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as caught:
        image_files.opened(data, "image")
    assert caught.value.param == "image"


def test_a_small_file_that_unpacks_to_too_much_is_not_unpacked() -> None:
    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, format="PNG")
    with pytest.raises(BadRequest, match="million pixels"):
        image_files.opened(file.getvalue(), "image")


def test_a_folder_of_another_kind_is_no_painter(tmp_path: Path) -> None:
    tiny_senses.write_json(tmp_path / "model_index.json", {"_class_name": "UnknownPipeline"})
    with pytest.raises(LoadFailed, match="of no family"):
        load("image", tmp_path)
