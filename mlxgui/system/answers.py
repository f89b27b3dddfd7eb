"""The answers of routes about the server itself, as types. Source: MLX-GUI's and mlx-vlm's
documents; what is beyond them is said so."""

from typing import NotRequired, TypedDict

from mlxgui.system.definitions import Applies


class Root(TypedDict):
    name: str
    version: str
    status: str


class Health(TypedDict):
    """Keys of MLX-GUI and of the mlx-vlm server; `loaded_models` is ours."""

    status: str
    loaded_model: str | None
    loaded_adapter: str | None
    loaded_models: list[str]


class Memory(TypedDict):
    total_gb: float
    available_gb: float
    used_gb: float
    percent_used: float


class GpuMemory(TypedDict):
    total_gb: float
    available_gb: float
    device_name: str


class Machine(TypedDict):
    platform: str
    architecture: str
    processor: str
    is_apple_silicon: bool
    mlx_compatible: bool
    memory: Memory
    gpu_memory: GpuMemory


class ModelManager(TypedDict):
    loaded_models_count: int
    max_concurrent_models: int
    queue_size: int
    total_model_memory_gb: float
    memory_usage_percent: float
    auto_unload_enabled: bool
    inactivity_timeout_minutes: int


class SystemStatus(TypedDict):
    status: str
    system: Machine
    model_manager: ModelManager
    mlx_compatible: bool


class ResidentConfig(TypedDict):
    model_type: str
    estimated_memory_gb: float


class Resident(TypedDict):
    """Times are ISO 8601. `in_flight` and `waiting` are ours: requests now. So is the most that its
    process had, and that against the plan; null until it was measured."""

    loaded_at: str | None
    last_used_at: str | None
    memory_usage_gb: float
    memory_peak_gb: float | None
    plan_error_percent: int | None
    in_flight: int
    waiting: int
    config: ResidentConfig


class Waiting(TypedDict):
    model: str
    status: str
    waiting: int


class ManagerStatus(TypedDict):
    loaded_models: dict[str, Resident]
    system_status: ModelManager
    queue_status: list[Waiting]


class Version(TypedDict):
    version: str
    python: str
    started_at: NotRequired[str | None]


class Ending(TypedDict):
    message: str
    url: NotRequired[str]


class SettingWritten(TypedDict):
    key: str
    value: bool | int | str
    updated: bool
    applies: NotRequired[Applies]
    """When it holds: an addition to the document."""


Settings = dict[str, bool | int | str]
