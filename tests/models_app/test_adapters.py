from pathlib import Path

import pytest

from mlxgui.engine.errors import BadRequest, ModelNotFound
from models_app.adapters import adapters_of, spec_for
from models_app.models import Model
from tests.factories import make_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def base() -> Model:
    return make_model(name="base", huggingface_id="org/base", memory_bytes=1000)


@pytest.fixture
def adapter(tmp_path: Path, base: Model) -> Model:
    (tmp_path / "adapters.safetensors").write_bytes(b"\0" * 64)
    return make_model(
        name="tuned",
        path=str(tmp_path),
        adapter_path=str(tmp_path),
        base_model="org/base",
        is_finetuned=True,
        error_message="This is an adapter.",
    )


def test_a_base_alone_is_its_own_worker(base: Model, adapter: Model) -> None:
    row, spec = spec_for("base")
    assert (row, spec.name, spec.adapter_path) == (base, "base", "")


@pytest.mark.parametrize("name", ["base@tuned", "org/base@tuned"])
def test_name_at_adapter_is_a_worker_of_its_own(base: Model, adapter: Model, name: str) -> None:
    row, spec = spec_for(name)
    assert row == base
    assert (spec.name, spec.adapter_path) == ("base@tuned", adapter.adapter_path)
    assert spec.key != spec_for("base")[1].key
    assert spec.memory_bytes == 1064


def test_the_adapters_field_names_it_too(base: Model, adapter: Model) -> None:
    for given in ("tuned", adapter.path):
        assert spec_for("base", given)[1].name == "base@tuned"
    assert spec_for("base@tuned", "tuned")[1].name == "base@tuned"


@pytest.mark.parametrize("field", ["adapters", "adapter_path"])
def test_a_folder_that_is_not_listed_is_never_opened(
    base: Model, tmp_path: Path, field: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        spec_for("base", str(tmp_path), field)
    assert caught.value.param == field


def test_unknown_names_and_contradictions_are_said(base: Model, adapter: Model) -> None:
    with pytest.raises(ModelNotFound, match="has no adapter 'other'"):
        spec_for("base@other")
    with pytest.raises(ModelNotFound):
        spec_for("nobody@tuned")
    with pytest.raises(BadRequest, match="Two adapters"):
        spec_for("base@tuned", "other")


def test_a_base_knows_the_adapters_that_were_trained_on_it(base: Model, adapter: Model) -> None:
    assert adapters_of(base) == [adapter]
    assert adapters_of(make_model(name="elsewhere")) == []
