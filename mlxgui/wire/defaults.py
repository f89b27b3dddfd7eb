"""Values for what a request left open: the model's own settings, else the surface's document."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mlxgui.engine.types import GenerationRequest, Sampling

_SAMPLING = frozenset(Sampling.__struct_fields__)


def filled(
    request: GenerationRequest, given: frozenset[str], *layers: Mapping[str, Any]
) -> GenerationRequest:
    """The request with every open sampling value, and `max_tokens`, from the first layer that
    names it. `given` are the names that the client chose itself."""
    values: dict[str, Any] = {}
    for layer in reversed(layers):
        values.update(layer)
    open_values = {name: value for name, value in values.items() if name not in given}
    chosen = {name: value for name, value in open_values.items() if name in _SAMPLING}
    sampling = msgspec.structs.replace(request.sampling, **chosen)
    max_tokens = open_values.get("max_tokens", request.max_tokens)
    return msgspec.structs.replace(request, sampling=sampling, max_tokens=max_tokens)
