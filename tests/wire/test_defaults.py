from mlxgui.engine.types import GenerationRequest, Sampling
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


def test_names_that_are_no_sampling_values_change_nothing() -> None:
    got = filled(GenerationRequest(prompt="x"), frozenset(), {"system_prompt": "Be kind"}, SURFACE)
    assert got == filled(GenerationRequest(prompt="x"), frozenset(), SURFACE)
