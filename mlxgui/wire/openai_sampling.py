"""OpenAI's names for how tokens are drawn, and the mlx-lm server's, in the engine's words."""

from typing import Any

from mlxgui.engine.errors import BadRequest
from mlxgui.wire import fields
from mlxgui.wire.openai_body import SamplingIn


def sampling_of(given: SamplingIn) -> dict[str, Any]:
    """Only what was given."""
    return fields.chosen(
        temperature=given.temperature,
        top_p=given.top_p,
        top_k=given.top_k,
        min_p=given.min_p,
        repetition_penalty=given.repetition_penalty,
        repetition_context_tokens=given.repetition_context_size,
        presence_penalty=given.presence_penalty,
        presence_context_tokens=given.presence_context_size,
        frequency_penalty=given.frequency_penalty,
        frequency_context_tokens=given.frequency_context_size,
        xtc_probability=given.xtc_probability,
        xtc_threshold=given.xtc_threshold,
        logit_bias=fields.token_biases(given.logit_bias) or None,
        seed=given.seed,
    )


def adapter_of(adapters: str | None, adapter_path: str | None) -> tuple[str, str]:
    """(the adapter, the field that named it): mlx-lm's server has one name for it, mlx-vlm's the
    other. Raises BadRequest for two."""
    if adapters and adapter_path and adapters != adapter_path:
        raise BadRequest(
            "adapters and adapter_path name two adapters; send one of them.", param="adapter_path"
        )
    if adapter_path and not adapters:
        return adapter_path, "adapter_path"
    return adapters or "", "adapters"
