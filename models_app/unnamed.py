"""Which model a request means that names none, as the mlx-lm server's documents allow it."""

import os

from asgiref.sync import sync_to_async

from mlxgui.runtime import running_runtime
from models_app.models import Kind, Model

# Our own names, then the mlx-vlm server's newer and older ones.
PRELOAD_MODEL = ("MLX_GUI_PRELOAD_MODEL", "MLX_VLM_PRELOAD_MODEL", "PRELOAD_MODEL")
PRELOAD_ADAPTER = ("MLX_GUI_PRELOAD_ADAPTER", "MLX_VLM_PRELOAD_ADAPTER", "PRELOAD_ADAPTER")

UNNAMED = "default_model"
"""What the mlx-lm server calls it, in requests and answers."""
TALKING = (Kind.TEXT, Kind.VISION)


def first_set(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


async def name_of_unnamed() -> str:
    """The model given at start; else the one in memory that was used last; else the first of the
    library that can chat, the starter only if there is no other. UNNAMED where there is none."""
    if named := first_set(PRELOAD_MODEL):
        adapter = first_set(PRELOAD_ADAPTER)
        return f"{named}@{adapter}" if adapter else named
    runtime = running_runtime()
    residents = runtime.pool.residents() if runtime else []
    ready = [one for one in residents if one.state == "ready" and one.kind in TALKING]
    if ready:
        return max(ready, key=lambda one: str(one.last_used_at or one.loaded_at)).name
    return await sync_to_async(_first)()


def _first() -> str:
    rows = [row for row in Model.objects.ready().order_by("name") if row.kind in TALKING]
    rows.sort(key=lambda row: row.is_starter)
    return rows[0].name if rows else UNNAMED
