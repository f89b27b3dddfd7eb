"""Where a worker computes, and what its libraries may not change there."""

import mlx.core as mx

from mlxgui.engine.spec import LoadOptions


def choose_device(options: LoadOptions) -> None:
    """Before anything is read."""
    if not options.use_gpu:
        mx.set_default_device(mx.cpu)
    mx.set_wired_limit = unchanged


def unchanged(limit: int) -> int:
    """In place of mlx's own. The libraries raise Metal's wired limit around their calls; that is
    tied to macOS kernel panics (ml-explore/mlx#3186). Where a person wants it raised, limits.py
    does."""
    return limit
