"""What a text backend says of itself: facts once it is loaded, numbers while it runs."""

from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlxgui.engine.backends.quantised import can_quantise
from mlxgui.engine.backends.tokens import QUESTIONS, answer_about_tokens
from mlxgui.engine.errors import BadRequest

if TYPE_CHECKING:
    from mlxgui.engine.backends.text import TextBackend


def facts_of(backend: "TextBackend") -> dict[str, Any]:
    """What only the libraries know of a model."""
    tokenizer = backend.tokenizer
    return {
        "thinking": bool(tokenizer.has_thinking),
        "tools": bool(tokenizer.has_tool_calling),
        "chat_template": bool(tokenizer.has_chat_template),
        "vocabulary": backend.vocabulary,
        "kv_quantization": not can_quantise(backend.model, backend.spec.options.kv_group_size),
        "kv_bits": backend.spec.options.kv_bits,
        "kv_note": backend.kv_note,
        "speculation": backend.speculator.can_trim,
        "active_bytes": int(mx.get_active_memory()),
        "options": backend.abilities.table(tries_grammar=False),
    }


def answer(backend: "TextBackend", name: str, arguments: dict[str, Any]) -> Any:
    """Raises BadRequest for a question that it does not know."""
    if name == "stats":
        return stats(backend)
    if name == "options":
        return backend.abilities.table()
    if name == "set_memory":
        return backend.budget.set(int(arguments["memory_bytes"]))
    if name == "reset_cache":
        backend.prompt_cache.reset(disk=bool(arguments.get("disk")))
        return backend.prompt_cache.stats()
    if name in QUESTIONS:
        return answer_about_tokens(backend.prompter, name, arguments)
    raise BadRequest(f"A text model has no {name}.")


def stats(backend: "TextBackend") -> dict[str, Any]:
    return {
        "in_flight": len(backend.rows),
        "active_bytes": int(mx.get_active_memory()),
        "peak_bytes": int(mx.get_peak_memory()),
        "prompt_cache": backend.prompt_cache.stats(),
        "speculation": backend.speculator.stats(),
        "kv_bytes": backend.scheduler.kv_bytes,
        **backend.budget.stats(),
    }
