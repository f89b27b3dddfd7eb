"""Rows with good defaults."""

from typing import Any

from models_app.models import Model


def make_model(name: str = "echo", **changes: Any) -> Model:
    """A model of the fake backend. Its folder is the backend's knob: echo, slow, broken, ..."""
    values = {"path": name, "kind": "fake", "context_tokens": 4096, **changes}
    return Model.objects.create(name=name, **values)
