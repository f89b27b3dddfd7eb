import pytest

from mlxgui.engine.types import GenerationRequest, Message, Sampling
from mlxgui.wire.defaults import filled

SURFACE = {"temperature": 1.0, "max_tokens": 8192}


def test_what_the_client_chose_stays() -> None:
    request = GenerationRequest(prompt="x", sampling=Sampling(temperature=0.2), max_tokens=7)
    got = filled(request, frozenset({"temperature", "max_tokens"}), {"temperature": 0.9}, SURFACE)
    assert (got.sampling.temperature, got.max_tokens) == (0.2, 7)


def test_the_models_own_settings_come_before_the_surface() -> None:
    got = filled(
        GenerationRequest(prompt="x"), frozenset(), {"temperature": 0.3, "top_k": 5}, SURFACE
    )
    assert (got.sampling.temperature, got.sampling.top_k, got.max_tokens) == (0.3, 5, 8192)


def test_names_that_mean_nothing_for_a_prompt_change_nothing() -> None:
    layer = {"system_prompt": "Be kind", "colour": "red"}
    got = filled(GenerationRequest(prompt="x"), frozenset(), layer, SURFACE)
    assert got == filled(GenerationRequest(prompt="x"), frozenset(), SURFACE)


def test_a_conversation_without_a_system_prompt_gets_the_models() -> None:
    request = GenerationRequest(messages=[Message("user", "Hi")])
    got = filled(request, frozenset(), {"system_prompt": "Be kind"}, SURFACE)
    assert got.messages == [Message("system", "Be kind"), Message("user", "Hi")]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_conversation_keeps_its_own_system_prompt(role: str) -> None:
    request = GenerationRequest(messages=[Message(role, "Rhyme"), Message("user", "Hi")])  # type: ignore[arg-type]
    assert filled(request, frozenset(), {"system_prompt": "Be kind"}).messages == request.messages


def test_thinking_and_template_values_come_from_the_layer_where_the_client_is_silent() -> None:
    layer = {"enable_thinking": False, "template_kwargs": {"a": 1, "b": 1}, "stop": ["END"]}
    got = filled(GenerationRequest(prompt="x", template_kwargs={"b": 2}), frozenset(), layer)
    assert (got.enable_thinking, got.template_kwargs) == (False, {"a": 1, "b": 2})
    assert got.stop == ["END"]
    asked = GenerationRequest(prompt="x", enable_thinking=True, stop=["X"])
    got = filled(asked, frozenset(), layer)
    assert (got.enable_thinking, got.stop) == (True, ["X"])
