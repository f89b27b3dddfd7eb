"""What is settled when a text model is loaded: its KV cache, and which folders may draft."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.backends.quick_import import import_quickly
from mlxgui.engine.backends.refusals import RETRY_SECONDS, Refusals
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.pool import Limits, ModelPool
from mlxgui.engine.spec import LoadOptions, ModelSpec
from mlxgui.engine.types import Done, GenerationRequest, Message, Sampling
from tests import tiny
from tests.conftest import ask
from tests.engine.backend import load_text, run
from tests.engine.test_pool import collect

pytestmark = pytest.mark.model


def asked(**changes: Any) -> GenerationRequest:
    words = [Message("user", "word word word")]
    return GenerationRequest(
        messages=words, sampling=Sampling(temperature=0), max_tokens=12, ignore_eos=True, **changes
    )


async def test_bits_for_all_models_do_not_keep_one_from_loading_that_cannot(
    pool: ModelPool, tmp_path: Path, text_model: Path
) -> None:
    """It goes without, says so, and is planned as it is."""
    folder = tiny.make_text_model(tmp_path / "windows", tiny.ARCHITECTURES["gemma3"])
    pool.apply(Limits(options=LoadOptions(kv_bits=8, kv_start_tokens=0)))
    for path in (folder, text_model):
        spec = ModelSpec(name=path.name, path=str(path), context_tokens=4096)
        planned = pool.preview(spec).plan.kv_bytes
        assert isinstance((await collect(pool, spec, ask("x", max_tokens=4)))[-1], Done)
        one = next(resident for resident in pool.residents() if resident.path == str(path))
        if path == folder:
            assert one.facts["kv_bits"] == 0
            assert one.facts["kv_note"].startswith("KV_BITS=8 is left out for this model: its")
            assert one.plan.kv_bytes > 1.5 * planned
        else:
            assert (one.facts["kv_bits"], one.facts["kv_note"]) == (8, "")
            assert one.plan.kv_bytes == planned
        assert not pool.renew(spec)  # it runs as well as it can: nothing to load anew


# -- drafting folders that were refused -----------------------------------------------------------


def test_a_refusal_holds_until_the_folder_changes_or_for_a_while(tmp_path: Path) -> None:
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    path = str(tmp_path)
    assert refusals.why(path) is None
    refusals.note(path, "no")
    assert refusals.why(path) == "no"
    now[0] = RETRY_SECONDS + 1
    assert refusals.why(path) is None
    refusals.note(path, "no")
    (tmp_path / "config.json").write_text("{}")
    assert refusals.why(path) is None
    refusals.note(path, "")
    now[0] = 10 * RETRY_SECONDS
    assert refusals.why(path) == ""  # what may draft need not be looked at again


def test_a_draft_model_that_was_mended_drafts_without_a_new_worker(
    text_model: Path, tmp_path: Path
) -> None:
    backend = load_text(text_model)
    folder = shutil.copytree(text_model, tmp_path / "draft")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:500])
    request = asked(draft_path=str(folder))
    (refused,) = run(backend, [request])
    assert isinstance(refused.error, BadRequest) and refused.error.param == "draft_model"
    with pytest.raises(BadRequest, match="could not be loaded"):
        backend.prepare(request)
    weights.write_bytes(whole)
    (drafted,) = run(backend, [request])
    assert drafted.done.usage.drafted_tokens > 0


def test_a_models_own_draft_model_that_broke_never_fails_a_request(
    text_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(text_model, tmp_path / "draft")
    backend = load_text(text_model, draft_path=str(folder))
    (want,) = run(backend, [asked()])
    assert want.done.usage.drafted_tokens > 0
    backend.speculator.give_up("as it does")
    shutil.rmtree(folder)  # changed: it is looked at again, by a request that did not name it
    (got,) = run(backend, [asked()])
    assert (got.error, got.text) == (None, want.text)
    assert got.done.usage.drafted_tokens == 0


# -- the import of the libraries ------------------------------------------------------------------


def test_transformers_looks_at_its_files_once() -> None:
    import transformers
    from transformers.utils import import_utils

    import_quickly()
    models = Path(transformers.__file__).parent / "models"
    seen = [import_utils.create_import_structure_from_path(one) for one in
            (models, models / "__init__.py", str(models / "__init__.py"))]  # fmt: skip
    assert seen[0] is seen[1] is seen[2] and "qwen3" in seen[0]
