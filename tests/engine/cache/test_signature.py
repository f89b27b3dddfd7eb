"""A kept state may be used only where everything it came from is the same."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.cache.signature import signature_of


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    for folder in (model, adapter):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")
    return model, adapter


def sign(folders: tuple[Path, Path | None], template: str = "t", **settings: Any) -> str:
    return signature_of(*folders, template, settings)


CHANGES: dict[str, Callable[[Path, Path], Any]] = {
    "the config": lambda model, adapter: (model / "config.json").write_text("{ }"),
    "the weights": lambda model, adapter: os.utime(model / "model.safetensors", (1, 1)),
    "another part": lambda model, adapter: (model / "b.safetensors").write_bytes(b""),
    "the adapter": lambda model, adapter: (adapter / "model.safetensors").write_bytes(b"w"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_changes_with_what_the_state_depends_on(folders: tuple[Path, Path], change: str) -> None:
    before = sign(folders)
    assert sign(folders) == before
    CHANGES[change](*folders)
    assert sign(folders) != before


def test_it_tells_template_settings_and_adapter_apart(folders: tuple[Path, Path]) -> None:
    signs = [
        sign(folders),
        sign(folders, "u"),
        sign(folders, kv_bits=8),
        sign((folders[0], None)),
    ]
    assert len(set(signs)) == 4
