"""Where a value comes from that a request left open: four places, one behind the other."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chat_app.answering import asked_of
from mlxgui.engine.types import GenerationRequest
from mlxgui.wire import openai_chat
from models_app.inspection.generation import generation_defaults
from models_app.models import Model
from tests.factories import make_model

pytestmark = pytest.mark.django_db(transaction=True)


async def asked(**given: Any) -> GenerationRequest:
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}], **given}
    parsed = openai_chat.parse(msgspec.json.encode(body))
    _, _, (request,) = await asked_of(openai_chat, parsed, "/v1/chat/completions")
    return request


async def test_request_then_model_row_then_generation_config_then_the_surface(
    tmp_path: Path,
) -> None:
    config = {"temperature": 0.61, "top_p": 0.62, "top_k": 63, "repetition_penalty": 1.64}
    (tmp_path / "generation_config.json").write_text(json.dumps(config))
    row = await _make(tmp_path)
    request = await asked(temperature=0.1, max_completion_tokens=5)
    chosen = request.sampling
    assert (chosen.temperature, request.max_tokens, request.may_end_early) == (0.1, 5, False)
    assert (chosen.top_p, chosen.top_k, chosen.repetition_penalty) == (0.2, 63, 1.64)
    plain = await asked()
    assert (plain.sampling.temperature, plain.max_tokens) == (0.61, 77)
    assert plain.may_end_early
    row.defaults, row.generation = {}, {}
    await row.asave()
    bare = await asked()
    documented = openai_chat.defaults
    assert bare.sampling.temperature == documented["temperature"]
    assert bare.max_tokens == documented["max_tokens"]
    assert (bare.sampling.top_p, bare.sampling.top_k) == (1.0, 0)


def test_without_sampling_only_what_says_how_to_draw_is_passed_over(tmp_path: Path) -> None:
    config = {"do_sample": False, "temperature": 0.6, "top_k": 20, "repetition_penalty": 1.2}
    (tmp_path / "generation_config.json").write_text(json.dumps(config))
    assert generation_defaults(tmp_path) == {"temperature": 0.0, "repetition_penalty": 1.2}


async def _make(folder: Path) -> Model:
    """A row whose own settings say less than its generation_config.json."""
    from asgiref.sync import sync_to_async

    own = {"top_p": 0.2, "max_tokens": 77}
    generation = generation_defaults(folder)
    return await sync_to_async(make_model)("echo", generation=generation, defaults=own)
