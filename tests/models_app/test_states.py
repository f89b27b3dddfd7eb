"""Rows joined with what the pool says. Needs no pool: residents are plain data."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlxgui.engine.pool import Resident
from models_app.models import Model
from models_app.states import Listed, State, digest, state_of

NOW = datetime.now(UTC)


def resident(**changes: Any) -> Resident:
    values: dict[str, Any] = {
        "name": "m", "key": "/m", "path": "/m", "kind": "text", "adapter_path": "",
        "state": "ready", "progress": 1.0, "loaded_at": NOW, "last_used_at": None,
        "memory_bytes": 5, "in_flight": 0, "waiting": 0, "pid": 1, "facts": {},
    }  # fmt: skip
    return Resident(**{**values, **changes})


@pytest.mark.parametrize(
    ("error", "held", "failure", "status", "reason"),
    [
        ("", None, "", "unloaded", ""),
        ("", resident(state="loading"), "", "loading", ""),
        ("", resident(), "", "loaded", ""),
        ("", resident(state="stopping"), "", "unloading", ""),
        ("", None, "It did not fit.", "failed", "It did not fit."),
        ("", resident(state="loading"), "It did not fit.", "loading", ""),
        ("It is damaged.", None, "", "failed", "It is damaged."),
        ("It is damaged.", None, "It did not fit.", "failed", "It is damaged."),
    ],
)
def test_the_status_follows_the_pool(
    error: str, held: Resident | None, failure: str, status: str, reason: str
) -> None:
    state = state_of(Model(path="/m", error_message=error), held, failure)
    assert (state.status, state.reason) == (status, reason)


@pytest.mark.parametrize(
    ("changes", "minutes"),
    [
        ({"last_used_at": timedelta(minutes=5, seconds=1)}, 5),
        ({"last_used_at": None, "loaded_at": timedelta(minutes=2, seconds=1)}, 2),
        ({"in_flight": 1}, None),
        ({"state": "loading"}, None),
    ],
)
def test_idle_time_counts_from_the_last_use(changes: dict[str, Any], minutes: int | None) -> None:
    now = datetime.now(UTC)
    times = {name: now - ago for name, ago in changes.items() if isinstance(ago, timedelta)}
    state = state_of(Model(path="/m"), resident(**{**changes, **times}))
    assert state.idle_minutes == minutes


def test_the_digest_changes_with_what_is_shown() -> None:
    model = Model(pk=1, path="/m")
    quiet = digest([Listed(model, State())])
    assert digest([Listed(model, State())]) == quiet
    assert digest([Listed(model, State(status="loading"))]) != quiet
    assert digest([]) != quiet
