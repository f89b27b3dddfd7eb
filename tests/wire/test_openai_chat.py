"""What a chat body says twice, and which of the two counts."""

from typing import Any

import msgspec
import pytest

from mlxgui.engine.errors import BadRequest
from mlxgui.wire import openai_chat


def parsed(**given: Any) -> Any:
    body = {"messages": [{"role": "user", "content": "Hi"}], **given}
    return openai_chat.parse(msgspec.json.encode(body))


@pytest.mark.parametrize(
    ("given", "alternatives"),
    [
        ({}, -1),
        ({"logprobs": False}, -1),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 4}, 4),
        ({"logprobs": 3}, 3),
        ({"logprobs": 3, "top_logprobs": 5}, 5),
        ({"logprobs": 0}, 0),
        ({"logprobs": 0, "top_logprobs": 2}, 2),
    ],
)
def test_log_probabilities_are_asked_for_by_a_switch_or_a_number(
    given: dict[str, Any], alternatives: int
) -> None:
    assert parsed(**given).request.logprobs == alternatives


def test_two_adapters_are_one_too_many() -> None:
    assert parsed(adapters="a", adapter_path="a").adapter == "a"
    with pytest.raises(BadRequest) as caught:
        parsed(adapters="a", adapter_path="b")
    assert caught.value.param == "adapter_path"


def test_a_function_is_chosen_by_its_name_unless_that_means_something_else() -> None:
    def choose(name: str) -> Any:
        function = {"name": name}
        tools = [{"type": "function", "function": function}]
        return parsed(tools=tools, tool_choice={"type": "function", "function": function})

    assert choose("ping").request.tool_choice == "ping"
    for name in ("auto", "none", "required"):
        with pytest.raises(BadRequest) as caught:
            choose(name)
        assert caught.value.param == "tool_choice"


def test_of_two_tokens_that_read_alike_the_drawn_one_is_told() -> None:
    from mlxgui.engine.types import TokenProb
    from mlxgui.wire.openai_text_answer import logprobs_object

    half = "\ufffd"
    others = [TokenProb("a", 1, -0.5), TokenProb(half, 2, -1.0), TokenProb(half, 3, -2.0)]
    (best,) = logprobs_object([TokenProb(half, 3, -2.0, others)])["top_logprobs"]
    assert best == {"a": -0.5, half: -2.0}
    (best,) = logprobs_object([TokenProb("a", 1, -0.5, others)])["top_logprobs"]
    assert list(best.items()) == [("a", -0.5), (half, -1.0)]
