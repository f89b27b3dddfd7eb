import platform

import psutil
import pytest

from mlxgui.engine import footprint


def test_linux_keeps_count_of_the_most_a_process_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert footprint.base_bytes() == 0
    if footprint.STATUS.exists():
        now = psutil.Process().memory_info().rss
        assert footprint.peak_bytes(0, 0) >= now * 0.9


def test_elsewhere_it_is_what_the_process_had_and_the_arrays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    base = footprint.base_bytes()
    assert base > 1 << 20
    assert footprint.peak_bytes(base, 1000) == base + 1000
