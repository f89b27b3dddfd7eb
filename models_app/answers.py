"""The answers of routes about models, as types. Source: MLX-GUI's and Silicon Studio's documents.

Times are ISO 8601 in UTC, sizes in GB are GiB (2^30 bytes). A client must bear further keys.
"""

from typing import Any, Literal, NotRequired, TypedDict


class OpenAIModel(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    permission: list[Any]
    root: str
    parent: str | None
    type: str
    status: str
    loaded: bool
    context_window: int | None
    capabilities: Any


class ModelSummary(TypedDict):
    id: int
    name: str
    type: str
    status: str
    memory_required_gb: float
    use_count: int
    last_used_at: str | None
    created_at: str | None
    huggingface_id: str | None
    author: str | None


class ModelList(TypedDict):
    """OpenAI's list and MLX-GUI's at once."""

    object: Literal["list"]
    data: list[OpenAIModel]
    models: list[ModelSummary]


class ManagedModels(TypedDict):
    models: list[ModelSummary]


class ModelDetail(TypedDict):
    """`id` is the name where an official OpenAI client asks."""

    id: int | str
    name: str
    path: str
    version: str | None
    type: str
    status: str
    memory_required_gb: float
    use_count: int
    last_used_at: str | None
    created_at: str | None
    updated_at: str | None
    error_message: str | None
    metadata: dict[str, Any]
    object: Literal["model"]
    created: int
    owned_by: str
    options: dict[str, bool | str] | None
    """Of a chat request: true, or why this model refuses it; null while it is not loaded."""


class PlanParts(TypedDict):
    weights_bytes: int
    kv_bytes: int
    transient_bytes: int
    process_bytes: int
    draft_bytes: int
    needed_bytes: int
    prompt_cache_bytes: int
    context_tokens: int


class ModelPlan(TypedDict):
    """`evict` are the models that would be unloaded; a warning can be forced."""

    model: str
    fits: Literal["yes", "warning", "no"]
    message: str
    evict: list[str]
    plan: PlanParts
    usable_bytes: int
    reserved_bytes: int
    available_bytes: int
    largest_context_tokens: int


class Done(TypedDict):
    message: str
    status: str


class Deleted(TypedDict):
    message: str
    removed_files: bool
    status: Literal["deleted"]
    freed_bytes: int


class ModelHealth(TypedDict):
    model: str
    status: str
    healthy: bool
    last_used: str | None


class Installed(TypedDict):
    message: str
    model_name: str
    model_id: str
    status: Literal["installed", "downloading"]
    estimated_memory_gb: float


class Installing(Installed):
    size_gb: float
    job_id: str
    status_url: str


class ModelStatus(TypedDict):
    """While it is downloaded or loaded, with the progress of that."""

    name: str
    status: str
    loaded: bool
    loaded_at: str | None
    last_used_at: str | None
    memory_usage_gb: float
    queue_position: int | None
    error_message: str | None
    memory_peak_gb: NotRequired[float | None]
    """The most that its process had; `plan_error_percent` is that against the plan."""
    plan_error_percent: NotRequired[int | None]
    note: NotRequired[str | None]
    load_progress: NotRequired[float | None]
    waiting: NotRequired[int]
    download_progress: NotRequired[float]
    download_stage: NotRequired[str]
    download_status: NotRequired[str]
    downloaded_mb: NotRequired[float]
    total_mb: NotRequired[float]
    download_speed_mbps: NotRequired[float]
    download_eta_seconds: NotRequired[float | None]
    job_id: NotRequired[str]


class PriorityTaken(TypedDict):
    model: str
    priority: int
    message: str
    applied: bool


# -- discovery ------------------------------------------------------------------------------------


class HubModel(TypedDict):
    id: str
    name: str
    author: str
    downloads: int
    likes: int
    model_type: str
    size_gb: float | None
    estimated_memory_gb: float | None
    mlx_compatible: bool
    has_mlx_version: bool
    mlx_repo_id: str | None
    tags: list[str]
    description: str | None
    updated_at: str | None
    quantization: str | None
    parameters: int | None
    gated: bool
    memory_fit: NotRequired[str]


class HubModels(TypedDict):
    """`age_seconds` says how old a kept answer of the hub is."""

    models: list[HubModel]
    total: int
    age_seconds: int
    max_memory_gb: NotRequired[float]
    warning: NotRequired[str]


class Categories(TypedDict):
    categories: dict[str, list[str]]
    age_seconds: int
    warning: NotRequired[str]


class HubDetail(HubModel):
    created_at: str | None
    library_name: str | None
    pipeline_tag: str | None
    context_window: int | None
    sha: str | None
    files: list[dict[str, Any]]
    system_compatible: bool
    compatibility_message: str
    age_seconds: int
    warning: NotRequired[str]


# -- Silicon Studio -------------------------------------------------------------------------------


class EngineModel(TypedDict):
    id: str
    name: str
    size: str
    url: str
    path: str | None
    local_path: str | None
    is_custom: bool
    is_finetuned: bool
    downloaded: bool
    downloading: bool
    download_progress: float | None
    download_speed: float | None
    download_eta: float | None


class ActiveModel(TypedDict):
    id: str
    name: str
    size: str
    path: str
    architecture: str
    context_window: int | None
    is_vision: bool


class Active(TypedDict):
    model: ActiveModel | None


class EngineStatus(TypedDict):
    status: str
    model_id: NotRequired[str]


class EngineDeleted(TypedDict):
    status: Literal["deleted"]
    model_id: str
    removed_files: bool
    freed_bytes: int


class EngineLoaded(TypedDict):
    status: Literal["loaded"]
    model_id: str
    context_window: int | None
    architecture: str
    is_vision: bool


class Format(TypedDict):
    model_id: str
    model_type: str | None
    has_chat_template: bool
    chat_template_preview: str
    context_window: int | None
    eos_token: str | None
    bos_token: str | None
    pad_token: str | None


class Verified(TypedDict):
    checked: int
    orphans: list[dict[str, Any]]
    removed: int
