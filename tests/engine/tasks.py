"""Drives the backends of tasks without a process, and tells their events apart."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlxgui.engine.backends import make_backend
from mlxgui.engine.spec import Kind, LoadOptions, ModelSpec
from mlxgui.engine.tasks import Embedded, Sound
from tests.engine.backend import Result, run


def load(kind: Kind, folder: Path, **options: Any) -> Any:
    backend = make_backend(kind)
    path, chosen = str(folder), LoadOptions(**options)
    facts = backend.load(
        ModelSpec(name=folder.name, path=path, kind=kind, options=chosen), lambda fraction: None
    )
    msgspec.msgpack.encode(facts)  # they cross a pipe
    return backend


def one(backend: Any, request: Any) -> Result:
    return run(backend, [request])[0]


def of(result: Result, kind: type) -> list[Any]:
    if result.error:
        raise result.error
    return [event for event in result.events if isinstance(event, kind)]


def vectors(result: Result) -> list[np.ndarray]:
    found = sorted(of(result, Embedded), key=lambda event: event.index)
    return [np.frombuffer(event.vector, "<f4") for event in found]


def file_of(result: Result) -> bytes:
    return b"".join(event.data for event in of(result, Sound))
