"""Models as the API shows them: one shape for OpenAI clients, one as MLX-GUI documents it."""

from datetime import UTC, datetime
from typing import Any

from mlxgui.engine.memory import GIB
from models_app.states import Listed
from models_app.variants import Variant

OWNER = "mlx-gui"


def openai_item(one: Listed) -> dict[str, Any]:
    """What OpenAI's list has, and more that its clients ignore."""
    model = one.model
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": OWNER,
        "permission": [],
        "root": model.name,
        "parent": None,
        "type": model.kind,
        "status": one.state.status,
        "loaded": one.state.is_loaded,
        "context_window": model.context_tokens or None,
        "capabilities": model.capabilities,
    }


def variant_item(one: Listed, variant: Variant) -> dict[str, Any]:
    """A profile, or a base with an adapter: an id of its own that the same model answers to."""
    more = {"id": variant.name, "parent": one.model.name, "variant": variant.kind}
    return {**openai_item(one), **more}


def summary(one: Listed) -> dict[str, Any]:
    """An entry of MLX-GUI's list."""
    model = one.model
    return {
        "id": model.pk,
        "name": model.name,
        "type": model.kind,
        "status": one.state.status,
        "memory_required_gb": gigabytes(model.memory_bytes),
        "use_count": model.use_count,
        "last_used_at": moment(model.last_used_at),
        "created_at": moment(model.created_at),
        "huggingface_id": model.huggingface_id or None,
        "author": model.author or None,
    }


def detail(one: Listed) -> dict[str, Any]:
    """MLX-GUI's details, with what OpenAI's `models.retrieve` needs beside them."""
    model = one.model
    return {
        **summary(one),
        "path": model.path,
        "version": model.version or None,
        "updated_at": moment(model.updated_at),
        "error_message": one.state.reason or None,
        "metadata": metadata(one),
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": OWNER,
    }


def metadata(one: Listed) -> dict[str, Any]:
    model = one.model
    return {
        "architecture": model.architecture,
        "family": model.family,
        "context_window": model.context_tokens or None,
        "quantization": model.quantization or None,
        "parameters": model.parameters,
        "size_bytes": model.weights_bytes,
        "capabilities": model.capabilities,
        "source": model.source,
        "is_finetuned": model.is_finetuned,
        "base_model": model.base_model or None,
    }


def health(one: Listed) -> dict[str, Any]:
    used = one.state.last_used_at or one.model.last_used_at
    return {
        "model": one.model.name,
        "status": one.state.status,
        "healthy": one.state.is_loaded,
        "last_used": moment(used),
    }


def moment(value: datetime | None) -> str | None:
    """To the second, in UTC, marked as such."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if value else None


def gigabytes(count: int) -> float:
    return round(count / GIB, 2)
