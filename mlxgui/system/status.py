"""How the server, this machine and the models in memory are doing, in the documents' words."""

import platform
from typing import Any

from mlxgui.engine.memory import GIB, Machine, is_apple_silicon, machine_memory
from mlxgui.engine.pool import Resident
from mlxgui.runtime import running_runtime
from mlxgui.system.models import Setting


def residents() -> list[Resident]:
    """The models in memory, the one used last first. Never waits."""
    runtime = running_runtime()
    found = runtime.pool.residents() if runtime else []
    return sorted(found, key=lambda one: one.last_used_at or one.loaded_at or 0, reverse=True)


def running_since() -> str | None:
    """When this server started, as ISO 8601; another one after a restart."""
    runtime = running_runtime()
    return runtime.started_at.isoformat() if runtime else None


def is_alive() -> bool:
    """Whether models can be served. One that died is no matter: the next request starts it."""
    runtime = running_runtime()
    return runtime is None or (runtime.pool.is_alive and not runtime.is_closing)


def health() -> dict[str, Any]:
    ready = [one for one in residents() if one.state == "ready"]
    latest = ready[0] if ready else None
    return {
        "status": "healthy" if is_alive() else "unavailable",
        "loaded_model": latest.name if latest else None,
        "loaded_adapter": (latest.adapter_path or None) if latest else None,
        "loaded_models": [one.name for one in ready],
    }


async def system_status() -> dict[str, Any]:
    machine = machine_memory()
    return {
        "status": "running",
        "system": describe_machine(machine),
        "model_manager": await describe_models(machine),
        "mlx_compatible": True,
    }


async def manager_status() -> dict[str, Any]:
    loaded = {one.name: describe_resident(one) for one in residents() if one.state != "loading"}
    return {
        "loaded_models": loaded,
        "system_status": await describe_models(machine_memory()),
        "queue_status": [
            {"model": one.name, "status": one.state, "waiting": one.waiting}
            for one in residents()
            if one.waiting or one.state == "loading"
        ],
    }


def describe_machine(machine: Machine) -> dict[str, Any]:
    used = machine.total_bytes - machine.available_bytes
    free = max(0, min(machine.available_bytes, machine.usable_bytes))
    return {
        "platform": platform.system(),
        "architecture": platform.machine(),
        "processor": machine.device_name,
        "is_apple_silicon": is_apple_silicon(),
        "mlx_compatible": True,
        "memory": {
            "total_gb": gb(machine.total_bytes),
            "available_gb": gb(machine.available_bytes),
            "used_gb": gb(used),
            "percent_used": percent(used, machine.total_bytes),
        },
        "gpu_memory": {
            "total_gb": gb(machine.usable_bytes),
            "available_gb": gb(free),
            "device_name": machine.device_name,
        },
    }


async def describe_models(machine: Machine) -> dict[str, Any]:
    rows = await Setting.objects.aas_dict()
    here = residents()
    taken = sum(one.memory_bytes for one in here)
    return {
        "loaded_models_count": sum(one.state == "ready" for one in here),
        "max_concurrent_models": rows["max_concurrent_models"],
        "queue_size": sum(one.waiting for one in here),
        "total_model_memory_gb": gb(taken),
        "memory_usage_percent": percent(taken, machine.total_bytes),
        "auto_unload_enabled": rows["auto_unload_inactive_models"],
        "inactivity_timeout_minutes": rows["model_inactivity_timeout_minutes"],
    }


def describe_resident(one: Resident) -> dict[str, Any]:
    memory = gb(one.memory_bytes)
    return {
        "loaded_at": one.loaded_at,
        "last_used_at": one.last_used_at,
        "memory_usage_gb": memory,
        "memory_peak_gb": gb(one.measured_peak_bytes) or None,
        "plan_error_percent": one.error_percent,
        "in_flight": one.in_flight,
        "waiting": one.waiting,
        "config": {"model_type": one.kind, "estimated_memory_gb": memory},
    }


def gb(size_bytes: int) -> float:
    return round(size_bytes / GIB, 2)


def percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
