"""Models as Silicon Studio's engine routes show them."""

from pathlib import Path
from typing import Any

from mlxgui.engine.memory import GIB
from models_app.downloads import Download
from models_app.inspection.files import read_object
from models_app.inspection.tokenizer import chat_template
from models_app.models import Kind, Model, Source
from models_app.states import Listed

PREVIEW = 200
SPECIAL = ("eos_token", "bos_token", "pad_token")


def entry(model: Model, download: Download | None = None) -> dict[str, Any]:
    return {
        "id": str(model.uuid),
        "name": model.name,
        "size": size(model.weights_bytes),
        "family": model.family,
        "architecture": model.architecture,
        "context_window": window(model.context_tokens),
        "quantization": model.quantization,
        "params": model.parameters,
        "url": page_of(model),
        "path": model.path,
        "local_path": model.path,
        "is_custom": model.source == Source.REGISTERED,
        "is_finetuned": model.is_finetuned,
        "is_vision": model.kind == Kind.VISION,
        "base_model": model.base_model or None,
        "adapter_path": model.adapter_path or None,
        "format_warning": model.error_message or None,
        "downloaded": True,
        **progress(download),
    }


def page_of(model: Model) -> str:
    """The page that was named when it was registered, else its repository's."""
    hub = f"https://huggingface.co/{model.huggingface_id}" if model.huggingface_id else ""
    return str(model.metadata.get("url") or hub)


def unfinished(download: Download) -> dict[str, Any]:
    """One that is not here yet."""
    return {
        "id": download.repository,
        "name": download.model_name,
        "size": size(download.total_bytes),
        "url": f"https://huggingface.co/{download.repository}",
        "path": None,
        "local_path": None,
        "is_custom": False,
        "is_finetuned": False,
        "downloaded": False,
        "error": download.error or None,
        **progress(download),
    }


def progress(download: Download | None) -> dict[str, Any]:
    under_way = download is not None and download.status in ("queued", "running")
    running = download if download and download.is_running else None
    return {
        "downloading": under_way,
        "download_progress": download.percent if download else None,
        "download_speed": running.speed_bytes if running else None,
        "download_eta": running.seconds_left if running else None,
    }


def active(one: Listed) -> dict[str, Any]:
    model = one.model
    return {
        "id": str(model.uuid),
        "name": model.name,
        "size": size(model.weights_bytes),
        "path": model.path,
        "architecture": model.architecture,
        "context_window": model.context_tokens or None,
        "is_vision": model.kind == Kind.VISION,
    }


def loaded(model: Model) -> dict[str, Any]:
    return {
        "status": "loaded",
        "model_id": str(model.uuid),
        "context_window": model.context_tokens or None,
        "architecture": model.architecture,
        "quantization": model.quantization,
        "is_vision": model.kind == Kind.VISION,
    }


def format_of(model: Model) -> dict[str, Any]:
    """Blocking: reads the tokenizer's files. Raises BrokenFolder."""
    folder = Path(model.path)
    config = read_object(folder / "config.json")
    tokenizer = read_object(folder / "tokenizer_config.json")
    template = chat_template(folder)
    return {
        "model_id": str(model.uuid),
        "model_type": config.get("model_type"),
        "has_chat_template": bool(template),
        "chat_template_preview": template[:PREVIEW],
        "context_window": model.context_tokens or None,
        **{name: token(tokenizer.get(name)) for name in SPECIAL},
    }


def token(value: Any) -> str | None:
    """A token is text, or an object with its content."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None


def size(count: int) -> str:
    return f"{count / GIB:.1f}GB" if count else ""


def window(tokens: int) -> str:
    return f"{tokens // 1024}k" if tokens >= 1024 else str(tokens or "")
