"""What to load, and how a worker runs it. Data only."""

from typing import Literal

from msgspec import Struct

Kind = Literal["text", "vision", "embedding", "rerank", "stt", "tts", "image", "fake"]


class LoadOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a worker runs its model. Sizes in bytes or tokens, as the names say; 0 = no bound."""

    prefill_step_tokens: int = 2048
    max_parallel: int = 32
    max_kv_tokens: int = 0
    prompt_cache_bytes: int = 1 << 30
    prompt_cache_folder: str = ""
    """Where prompts are kept over a restart; empty = nowhere."""
    prompt_cache_disk_bytes: int = 0
    use_gpu: bool = True
    raise_wired_limit: bool = False
    kv_bits: int = 0
    """Bits that a number of the KV cache is stored in; 0 = as it is computed."""
    kv_group_size: int = 64
    kv_if_possible: bool = False
    """`kv_bits` were meant for all models: one whose cache cannot be quantised goes without."""
    kv_start_tokens: int = 5000
    """Tokens that stay at full precision before quantisation begins. Source: the mlx-vlm server."""
    draft_path: str = ""
    """Folder of the small model that drafts; empty = none."""
    draft_tokens: int = 3
    """Tokens drafted at a time."""
    warm_prompts: list[str] = []
    """System prompts that are read into the prompt cache once the model is loaded."""
    trust_remote_code: bool = False
    """Whether a folder's own program code may run; otherwise such a folder is refused."""
    memory_bytes: int = 0
    """What the worker may take beside its prompt cache; the pool sets it, and sets it anew."""


class ModelSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One loadable model: what the engine needs to know, and nothing about where it is listed."""

    name: str
    path: str
    kind: Kind = "text"
    adapter_path: str = ""
    memory_bytes: int = 0
    context_tokens: int = 0
    keep_alive_seconds: float | None = None
    """Idle time before the pool may unload it. None = the pool's own; negative = never."""
    pinned: bool = False
    options: LoadOptions = LoadOptions()
    chosen: tuple[str, ...] = ()
    """Names of options that were chosen for this model, though they may equal their defaults."""

    @property
    def key(self) -> str:
        """One worker per key: a base with an adapter is a worker of its own."""
        return f"{self.path}@{self.adapter_path}" if self.adapter_path else self.path
