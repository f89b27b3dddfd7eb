"""A short form of `python -m bench.soak`: mixed and given-up requests leave nothing behind."""

from pathlib import Path

import pytest

from bench.soak import body_of, soak

REQUESTS = 90


@pytest.mark.model
def test_mixed_requests_leave_no_place_no_process_and_no_memory(tmp_path: Path) -> None:
    found = soak(tmp_path, REQUESTS, side_by_side=6)
    assert sum(found.statuses.values()) == REQUESTS
    assert set(found.statuses) == {"200", "given up"}
    assert (found.busy, found.left) == (0, 0)
    assert found.children == 1  # the one model's worker
    # So few requests say nothing of one per cent; the long form does.
    assert found.growth < 1.15


def test_every_kind_of_request_is_among_them() -> None:
    asked = [body_of(number) for number in range(14)]
    for key in ("n", "response_format", "tools", "logprobs", "seed", "stop"):
        assert any(key in body for body in asked)
