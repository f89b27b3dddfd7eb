"""Every parameter of the chat body, live, on a model that can do all and on one that cannot.

What a model's table says is what happens: honoured means an answer, refused a 400 that names it.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlxgui.engine.backends import options
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.pool import Limits, ModelPool
from mlxgui.engine.spec import LoadOptions, ModelSpec
from mlxgui.engine.types import Done
from mlxgui.wire import openai_chat
from mlxgui.wire.fields import struct_fields
from mlxgui.wire.openai_body import Body
from tests.engine.test_pool import collect

pytestmark = pytest.mark.model

TOOLS = [{"type": "function", "function": {"name": "ping", "parameters": {"type": "object"}}}]
# A value of each parameter that changes something; those of others go along where it needs them.
EXAMPLES: dict[str, dict[str, Any]] = {
    "messages": {},
    "model": {"model": "tiny"},
    "stream": {"stream": True},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "max_tokens": {"max_tokens": 3},
    "max_completion_tokens": {"max_completion_tokens": 3},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 5},
    "min_p": {"min_p": 0.1},
    "repetition_penalty": {"repetition_penalty": 1.5},
    "repetition_context_size": {"repetition_penalty": 1.5, "repetition_context_size": 5},
    "presence_penalty": {"presence_penalty": 1},
    "presence_context_size": {"presence_penalty": 1, "presence_context_size": 5},
    "frequency_penalty": {"frequency_penalty": 1},
    "frequency_context_size": {"frequency_penalty": 1, "frequency_context_size": 5},
    "logit_bias": {"logit_bias": {"5": -100}},
    "xtc_probability": {"xtc_probability": 0.5},
    "xtc_threshold": {"xtc_probability": 0.5, "xtc_threshold": 0.2},
    "seed": {"seed": 7},
    "stop": {"stop": ["zzz"]},
    "tools": {"tools": TOOLS},
    "tool_choice": {"tools": TOOLS, "tool_choice": "required"},
    "parallel_tool_calls": {"parallel_tool_calls": False},
    "response_format": {"response_format": {"type": "json_object"}},
    "n": {"n": 2},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"logprobs": True, "top_logprobs": 2},
    "min_tokens": {"min_tokens": 2},
    "ignore_eos": {"ignore_eos": True},
    "typical_p": {"typical_p": 0.5},
    "role_mapping": {"role_mapping": {"user": "Q: "}},
    "thinking_budget": {"thinking_budget": 2},
    "reasoning_effort": {"reasoning_effort": "low"},
    "enable_thinking": {"enable_thinking": True},
    "chat_template_kwargs": {"chat_template_kwargs": {"custom": 1}},
    "draft_model": {"draft_model": "draft"},
    "num_draft_tokens": {"num_draft_tokens": 2},
    "priority": {"priority": -10},
    "keep_alive": {"keep_alive": "5m"},
    "adapters": {"adapters": "mine"},
    "adapter_path": {"adapter_path": "mine"},
    "resize_shape": {"resize_shape": [64]},
    "user": {"user": "me"},
    "metadata": {"metadata": {"a": "b"}},
    "safety_identifier": {"safety_identifier": "x"},
    "prompt_cache_key": {"prompt_cache_key": "x"},
}
# Named instead, for it is given as well and is what the model cannot do.
COMPANION = {"tool_choice": "tools"}


def test_the_table_knows_every_parameter_of_the_body() -> None:
    known = {*options.ALWAYS, *options.BY_MODEL, *options.NEVER}
    assert known == struct_fields(Body) == set(EXAMPLES)


@pytest.fixture(scope="module")
def plain_model(tmp_path_factory: pytest.TempPathFactory, text_model: Path) -> Path:
    """No template, so no tools; no thinking."""
    folder = tmp_path_factory.mktemp("plain") / "plain"
    shutil.copytree(text_model, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    config.pop("chat_template", None)
    file.write_text(json.dumps(config))
    return folder


async def live_table(pool: ModelPool, folder: Path) -> dict[str, Any]:
    """What the model's table says, after each of its lines was tried."""
    pool.apply(Limits(options=LoadOptions(prompt_cache_bytes=0)))
    spec = ModelSpec(name="tiny", path=str(folder), context_tokens=4096)
    await pool.load(spec)
    table: dict[str, Any] = await pool.ask(spec.key, "options")
    wrong: dict[str, str] = {}
    for name, given in EXAMPLES.items():
        refused = await refusal_of(pool, spec, given)
        expected = None if table[name] is True else COMPANION.get(name, name)
        if refused != expected:
            wrong[name] = f"the table says {table[name]}, but refused was {refused}"
    assert wrong == {}
    return table


async def refusal_of(pool: ModelPool, spec: ModelSpec, given: dict[str, Any]) -> str | None:
    """The parameter that a 400 names; None when there was an answer."""
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, **given}
    try:
        parsed = openai_chat.parse(msgspec.json.encode(body))
        assert parsed.warnings == []
        draft = {"draft_path": spec.path} if parsed.draft else {}
        request = msgspec.structs.replace(parsed.request, **draft)
        events = await collect(pool, spec, request)
    except BadRequest as error:
        return error.param
    assert isinstance(events[-1], Done)
    return None


async def test_a_model_with_everything_honours_every_parameter_it_lists(
    pool: ModelPool, thinking_model: Path
) -> None:
    table = await live_table(pool, thinking_model)
    refused = {name for name, state in table.items() if state is not True}
    assert refused == {"typical_p", "role_mapping"}


async def test_a_model_without_template_refuses_what_needs_one(
    pool: ModelPool, plain_model: Path
) -> None:
    table = await live_table(pool, plain_model)
    refused = {name for name, state in table.items() if state is not True}
    assert refused == {
        "typical_p", "tools", "tool_choice", "parallel_tool_calls", "thinking_budget",
        "enable_thinking", "reasoning_effort", "chat_template_kwargs",
    }  # fmt: skip


def test_thinking_that_cannot_be_switched_off_is_refused_by_the_name_that_was_used() -> None:
    class Tokenizer:
        """Thinks, and its template takes no notice of the switch."""

        has_thinking = has_chat_template = has_tool_calling = True

        def apply_chat_template(self, *messages: Any, **options: Any) -> str:
            return "<think>"

    from mlxgui.engine.types import GenerationRequest

    able = options.Abilities(Tokenizer(), None, can_draft=True)  # type: ignore[arg-type]
    with pytest.raises(BadRequest) as caught:
        able.check(GenerationRequest(enable_thinking=False))
    assert caught.value.param == "enable_thinking"
    with pytest.raises(BadRequest) as caught:
        kwargs = {"reasoning_effort": "none"}
        able.check(GenerationRequest(enable_thinking=False, template_kwargs=kwargs))
    assert caught.value.param == "reasoning_effort"
