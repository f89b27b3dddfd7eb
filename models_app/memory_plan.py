"""What loading a model would take, in parts, as a page shows it."""

from typing import Any

from msgspec import Struct

from mlxgui.engine.preview import Preview
from models_app.models import Model


class Part(Struct, frozen=True):
    name: str
    size_bytes: int
    note: str = ""
    percent: int = 0
    """Of all parts together."""


def parts(preview: Preview) -> list[Part]:
    plan = preview.plan
    kv = f"of {plan.context_tokens:,} tokens" if plan.context_tokens else ""
    found = [
        Part("Weights", plan.weights_bytes),
        Part("Draft model", plan.draft_bytes),
        Part("Conversation", plan.kv_bytes, kv),
        Part("Reading a prompt", plan.transient_bytes, "while it lasts"),
        Part("Its process", plan.process_bytes),
    ]
    whole = plan.needed_bytes or 1
    return [
        Part(one.name, one.size_bytes, one.note, round(100 * one.size_bytes / whole))
        for one in found
        if one.size_bytes
    ]


def shown(model: Model, preview: Preview) -> dict[str, Any]:
    """For a template."""
    return {"model": model, "preview": preview, "parts": parts(preview)}


def described(model: Model, preview: Preview) -> dict[str, Any]:
    """For an API. Sizes in bytes."""
    plan = preview.plan
    return {
        "model": model.name,
        "fits": preview.fits,
        "message": preview.message,
        "evict": preview.evict,
        "plan": {
            "weights_bytes": plan.weights_bytes,
            "kv_bytes": plan.kv_bytes,
            "transient_bytes": plan.transient_bytes,
            "process_bytes": plan.process_bytes,
            "draft_bytes": plan.draft_bytes,
            "needed_bytes": plan.needed_bytes,
            "prompt_cache_bytes": plan.prompt_cache_bytes,
            "context_tokens": plan.context_tokens,
        },
        "usable_bytes": preview.usable_bytes,
        "reserved_bytes": preview.reserved_bytes,
        "available_bytes": preview.available_bytes,
        "largest_context_tokens": preview.largest_context_tokens,
    }
