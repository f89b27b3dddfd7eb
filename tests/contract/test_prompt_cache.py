"""Reuse as a client sees it: explained, kept over a restart, normalised, warmed, emptied."""

from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.live import LiveServer

pytestmark = pytest.mark.model

SYSTEM = "You know much about old ships and how they were built. " * 12


def ask(client: OpenAI, *turns: str, system: str = SYSTEM) -> Any:
    roles = ["user", "assistant"]
    messages: list[Any] = [{"role": "system", "content": system}]
    messages += [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    return client.chat.completions.create(
        model="tiny-text", messages=messages, temperature=0, max_tokens=8
    )


def cached(answer: Any) -> int:
    return int(answer.usage.prompt_tokens_details.cached_tokens)


def test_every_answer_says_how_far_its_prompt_was_reused_and_why(
    client: OpenAI, server: LiveServer
) -> None:
    # Others have asked before.
    server.send("POST", "/v1/cache/reset", {"model": "tiny-text", "disk": True})
    first = ask(client, "What is a keel?")
    assert first.x_cache["reason"] == "first_use" and cached(first) == 0
    second = ask(client, "What is a keel?", first.choices[0].message.content or "", "And a mast?")
    assert cached(second) >= first.usage.prompt_tokens - 1
    assert (second.x_cache["tier"], second.x_cache["cached_tokens"]) == ("memory", cached(second))
    other = ask(client, "Quite another question")
    assert cached(other) > 100
    assert other.x_cache["divergence"] == cached(other)
    assert other.x_cache["text"] and other.x_cache["known_text"]


def test_a_stream_says_it_in_its_first_chunk(client: OpenAI) -> None:
    chunks = client.chat.completions.create(
        model="tiny-text",
        messages=[{"role": "user", "content": "Hello once more"}],
        max_tokens=3,
        stream=True,
    )
    first, *rest = list(chunks)
    assert first.x_cache["reason"] and first.choices[0].delta.role == "assistant"  # type: ignore[attr-defined]
    assert not any(hasattr(chunk, "x_cache") for chunk in rest)


def test_a_header_that_changes_with_each_request_is_left_out_and_said(client: OpenAI) -> None:
    def with_header(number: int) -> Any:
        system = f"x-anthropic-billing-header: cc_version=2.1.{number}; cch={number}a;\n{SYSTEM}"
        raw = client.chat.completions.with_raw_response.create(
            model="tiny-text",
            messages=[{"role": "system", "content": system}, {"role": "user", "content": "Well?"}],
            temperature=0,
            max_tokens=4,
        )
        return raw.headers.get("warnings", ""), raw.parse()

    note, first = with_header(1)
    _, second = with_header(2)
    assert "billing header" in note
    assert cached(second) == first.usage.prompt_tokens - 1


def test_a_prompt_is_warmed_counted_and_forgotten(client: OpenAI, server: LiveServer) -> None:
    body = {"model": "tiny-text", "messages": [{"role": "user", "content": "Warm me up " * 20}]}
    status, warmed = server.send("POST", "/v1/cache/warm", body)
    assert (status, warmed["status"], warmed["x_cache"]["reason"]) == (200, "warm", "partial") or (
        warmed["x_cache"]["reason"] == "first_use"
    )
    _, again = server.send("POST", "/v1/cache/warm", body)
    assert again["x_cache"]["cached_tokens"] == warmed["prompt_tokens"] - 1
    assert server.get("/v1/cache/stats")["models"]["tiny-text"]
    status, reset = server.send("POST", "/v1/cache/reset", {"model": "tiny-text", "disk": True})
    assert (status, reset["status"]) == (200, "reset")
    _, after = server.send("POST", "/v1/cache/warm", body)
    assert after["x_cache"].get("cached_tokens", 0) == 0
    assert server.send("POST", "/v1/cache/reset", {"model": "nobody"})[0] == 404
    assert server.send("POST", "/v1/cache/reset", {"disk": "maybe"})[0] == 400


def test_a_restart_reuses_what_is_on_disk(tmp_path: Path, text_model: Path) -> None:
    body = {
        "model": "tiny-text",
        "messages": [{"role": "user", "content": "A long story of the sea. " * 60}],
        "temperature": 0,
        "max_tokens": 6,
    }
    with LiveServer(tmp_path / "home", text_model) as live:
        _, cold = live.send("POST", "/v1/chat/completions", body)
    with LiveServer(tmp_path / "home", text_model) as live:
        _, warm = live.send("POST", "/v1/chat/completions", body)
    assert cold["x_cache"]["reason"] == "first_use"
    assert warm["x_cache"]["tier"] == "disk"
    assert warm["x_cache"]["cached_tokens"] > 0.9 * cold["usage"]["prompt_tokens"]
    assert warm["choices"][0]["message"] == cold["choices"][0]["message"]
