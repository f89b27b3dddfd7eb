"""The prompt cache of one model: where it lies, and how its answer is told."""

from pathlib import Path
from typing import Any

from mlxgui.engine.cache.prompt_cache import Found, PromptCache
from mlxgui.engine.cache.reasons import SENTENCES
from mlxgui.engine.cache.signature import signature_of
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import CacheUse


def open_prompt_cache(spec: ModelSpec, model: Path, tokenizer: Any) -> PromptCache:
    """What is on disk is used only under the same model, adapter, template, settings, libraries."""
    options = spec.options
    adapter = Path(spec.adapter_path) if spec.adapter_path else None
    template = str(getattr(tokenizer, "chat_template", ""))
    folder = options.prompt_cache_folder
    settings = {
        "max_kv_tokens": options.max_kv_tokens,
        "kv_bits": options.kv_bits,
        "kv_group_size": options.kv_group_size if options.kv_bits else 0,
        "kv_start_tokens": options.kv_start_tokens if options.kv_bits else 0,
    }
    return PromptCache(
        bytes_in_memory=options.prompt_cache_bytes,
        folder=Path(folder) if folder else None,
        bytes_on_disk=options.prompt_cache_disk_bytes,
        signature=signature_of(model, adapter, template, settings),
        quantised_from=options.kv_start_tokens if options.kv_bits else 0,
    )


def cache_use(found: Found, tokenizer: Any) -> CacheUse:
    """In words, with the text of the first token that differs."""
    if found.divergence is None:
        index, text, known = -1, "", ""
    else:
        index = found.divergence.index
        text = tokenizer.decode([found.divergence.token])
        known = tokenizer.decode([found.divergence.known_token])
    return CacheUse(
        cached_tokens=found.cached_tokens,
        tier=found.tier,
        reason=str(found.reason),
        explanation=SENTENCES[found.reason],
        divergence=index,
        text=text,
        known_text=known,
    )
