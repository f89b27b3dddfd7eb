"""Which kind of model answers where, and what is said at the wrong door."""

from collections.abc import Collection

from mlxgui.engine.errors import BadRequest
from models_app.models import Model

TALKING = ("text", "vision", "fake")
"""Kinds that chat and complete."""

_ROUTES = {
    "text": "/v1/chat/completions",
    "vision": "/v1/chat/completions",
    "embedding": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "stt": "/v1/audio/transcriptions",
    "tts": "/v1/audio/speech",
    "image": "/v1/images/generations",
}
_WORDS = {
    "text": "a text model",
    "vision": "a vision model",
    "embedding": "an embedding model",
    "rerank": "a reranking model",
    "stt": "a speech recognition model",
    "tts": "a speech model",
    "image": "an image model",
}


def check_kind(model: Model, kinds: Collection[str], route: str) -> None:
    """Raises BadRequest where `route` is not for this model; it says which route is, and what kind
    of model this one wants."""
    if model.kind in kinds:
        return
    wanted = " or ".join(_WORDS[kind] for kind in kinds if kind in _WORDS)
    message = f"“{model.name}” is {_WORDS.get(model.kind, 'another kind of model')}."
    if model.kind in _ROUTES:
        message += f" It answers at {_ROUTES[model.kind]}."
    raise BadRequest(f"{message} {route} needs {wanted}.", param="model")
