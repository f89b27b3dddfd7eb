"""How a model is found, and what the engine is told of it."""

import pytest

from mlxgui.engine.errors import LoadFailed, ModelNotFound
from models_app.models import Model
from tests.factories import make_model

pytestmark = pytest.mark.django_db


def test_a_model_is_found_by_each_of_its_identities() -> None:
    model = make_model("qwen", path="/models/qwen", huggingface_id="mlx-community/Qwen3-4B-4bit")
    for name in (
        "qwen",
        "mlx-community/Qwen3-4B-4bit",
        str(model.uuid),
        model.uuid.hex,
        str(model.pk),
        "/models/qwen",
        "/models/qwen/",
    ):
        assert Model.objects.resolve(name) == model, name


def test_a_name_goes_before_every_other_identity() -> None:
    other = make_model("other", path="/models/a")
    named = make_model(str(other.pk), path="/models/b", huggingface_id="org/x")
    assert Model.objects.resolve(str(other.pk)) == named
    shadow = make_model("org/x", path="/models/c")
    assert Model.objects.resolve("org/x") == shadow


def test_of_two_folders_of_one_repository_the_sound_one_is_found() -> None:
    make_model("a", path="/a", huggingface_id="org/x", error_message="It is damaged.")
    sound = make_model("b", path="/b", huggingface_id="org/x")
    assert Model.objects.resolve("org/x") == sound


@pytest.mark.parametrize(
    "name", ["", "nobody", "0", "9" * 40, "-1", "²", "../etc", "/", "org/none", "a" * 5000, "x\0y"]
)
def test_an_unknown_name_is_not_found(name: str) -> None:
    make_model("known", path="/known")
    with pytest.raises(ModelNotFound) as caught:
        Model.objects.resolve(name)
    assert caught.value.message == f"Model '{name}' not found"


def test_an_unknown_adapter_is_not_found() -> None:
    make_model("base", path="/base")
    with pytest.raises(ModelNotFound, match="Model 'base' has no adapter 'mine'"):
        Model.objects.resolve("base@mine")


def test_a_broken_model_has_no_spec() -> None:
    model = make_model("bad", path="/bad", error_message="There is no config.json.")
    with pytest.raises(LoadFailed, match="There is no config.json"):
        model.spec()


def test_the_spec_carries_what_the_pool_needs() -> None:
    model = make_model("m", path="/m", memory_bytes=7, keep_alive_minutes=1.5, pinned=True)
    spec = model.spec()
    assert (spec.name, spec.path, spec.kind) == ("m", "/m", "fake")
    assert (spec.memory_bytes, spec.context_tokens) == (7, 4096)
    assert (spec.keep_alive_seconds, spec.pinned) == (90.0, True)
    assert spec.key == model.key


def test_without_its_own_keep_alive_the_pool_decides() -> None:
    assert make_model("m").spec().keep_alive_seconds is None


def test_ready_models_are_sound_and_of_a_served_kind() -> None:
    sound = make_model("sound", path="/s")
    make_model("broken", path="/b", error_message="damaged")
    make_model("odd", path="/o", kind="unheard-of")
    assert list(Model.objects.ready()) == [sound]


def test_each_use_is_counted_and_leaves_updated_at_alone() -> None:
    model = make_model("m")
    changed = model.updated_at
    Model.objects.filter(pk=model.pk).record_uses(2)
    model.refresh_from_db()
    assert model.use_count == 2
    assert model.last_used_at is not None
    assert model.updated_at == changed
