"""Models of the library as Ollama's clients know them."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from mlxgui.engine.pool import Resident
from models_app.inspection.tokenizer import chat_template
from models_app.models import Kind, Model

FORMAT = "safetensors"
API_VERSION = "0.32.0"
"""Of Ollama's API, as these routes follow it; clients refuse to talk to one that is too old."""
FOR_EVER = timedelta(days=365 * 100)


def version() -> dict[str, Any]:
    return {"version": API_VERSION, "server": f"MLX GUI {settings.VERSION}"}


def tag(model: Model) -> dict[str, Any]:
    """An entry of /api/tags."""
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": moment(model.updated_at),
        "size": model.weights_bytes,
        "digest": digest(model),
        "details": details(model),
    }


def running(model: Model, one: Resident) -> dict[str, Any]:
    """An entry of /api/ps."""
    left = one.idle_left_seconds
    expires = datetime.now(UTC) + (FOR_EVER if left is None else timedelta(seconds=left))
    return {
        "name": one.name,
        "model": one.name,
        "size": one.memory_bytes,
        "digest": digest(model),
        "details": details(model),
        "expires_at": moment(expires),
        "size_vram": one.memory_bytes,
        "context_length": model.context_tokens,
    }


def shown(model: Model) -> dict[str, Any]:
    """Blocking: reads the tokenizer's files."""
    options = {**model.generation, **model.defaults}
    plain = {k: v for k, v in options.items() if isinstance(v, int | float | str)}
    family = model.architecture or "unknown"
    return {
        "license": "",
        "modelfile": f"FROM {model.huggingface_id or model.name}\n",
        "parameters": "\n".join(f"{name} {json.dumps(value)}" for name, value in plain.items()),
        "template": chat_template(Path(model.path)),
        "details": details(model),
        "model_info": {
            "general.architecture": family,
            "general.basename": model.name,
            "general.parameter_count": model.parameters,
            f"{family}.context_length": model.context_tokens,
        },
        "capabilities": capabilities(model),
        "modified_at": moment(model.updated_at),
    }


def capabilities(model: Model) -> list[str]:
    """In Ollama's words."""
    if model.kind == Kind.EMBEDDING:
        return ["embedding"]
    if not model.can_chat:
        return []
    found = ["completion"]
    if model.kind == Kind.VISION:
        found.append("vision")
    return found + [name for name in ("tools", "thinking") if model.capabilities.get(name)]


def details(model: Model) -> dict[str, Any]:
    family = model.family or model.architecture
    return {
        "parent_model": model.base_model,
        "format": FORMAT,
        "family": family,
        "families": [family] if family else [],
        "parameter_size": parameter_size(model.parameters),
        "quantization_level": model.quantization,
    }


def parameter_size(count: int) -> str:
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return str(count)


def digest(model: Model) -> str:
    """Stays while the model's files do: clients compare it to see whether something changed."""
    known = f"{model.uuid} {model.version} {model.weights_bytes}"
    return hashlib.sha256(known.encode()).hexdigest()


def moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
