import json
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, TimedOut, Unsupported
from mlxgui.engine.types import Finished, Message, TokenProb, ToolCallRecord
from mlxgui.wire import Parsed, ollama_chat, ollama_generate
from tests.wire.events import TURN, whole


def chat(**body: Any) -> Parsed:
    given = {"model": "m:latest", "messages": [{"role": "user", "content": "Hi"}], **body}
    return ollama_chat.parse(json.dumps(given).encode())


def generate(**body: Any) -> Parsed:
    return ollama_generate.parse(json.dumps({"model": "m", "prompt": "Hi", **body}).encode())


def lines(parsed: Parsed) -> list[dict[str, Any]]:
    encoder = ollama_chat.encoder(parsed)
    raw = b"".join(encoder.feed(event) for event in TURN)
    return [json.loads(line) for line in raw.splitlines()]


def test_a_turn_is_a_line_for_each_piece_and_calls_come_whole() -> None:
    found = lines(chat())
    messages = [line["message"] for line in found]
    assert [message.get("thinking", "") for message in messages[:2]] == ["Let me ", "think."]
    assert [message["content"] for message in messages[2:4]] == ["It ", "rains."]
    calls = [call["function"] for call in messages[4]["tool_calls"]]
    assert [(call["name"], call["arguments"]) for call in calls] == [
        ("look", {"city": "Rome"}), ("clock", {}),
    ]  # fmt: skip
    assert [line["done"] for line in found] == [False] * 5 + [True]
    assert (found[-1]["done_reason"], found[-1]["eval_count"]) == ("stop", 9)
    assert found[0]["model"] == "m"


def test_a_whole_answer_says_the_same() -> None:
    answer = whole(ollama_chat, chat(), TURN)
    assert answer["message"]["content"] == "It rains."
    assert answer["message"]["thinking"] == "Let me think."
    assert len(answer["message"]["tool_calls"]) == 2 and answer["done"]
    told = whole(ollama_generate, generate(), [*TURN[:5], Finished("length"), TURN[-1]])
    assert (told["response"], told["done_reason"]) == ("It rains.", "length")


def test_options_have_our_words() -> None:
    options = {
        "temperature": 0.1, "top_k": -1, "repeat_penalty": 1.2, "repeat_last_n": 9, "seed": 3,
        "num_predict": 7, "stop": ["a"], "min_p": 0.1,
    }  # fmt: skip
    parsed = chat(options=options)
    sampling = parsed.request.sampling
    assert (sampling.temperature, sampling.top_k, sampling.min_p) == (0.1, 0, 0.1)
    assert (sampling.repetition_penalty, sampling.repetition_context_tokens) == (1.2, 9)
    assert (parsed.request.max_tokens, parsed.request.stop) == (7, ["a"])
    assert chat(options={"num_predict": -1}).request.max_tokens == 0
    assert chat(options={"num_predict": 0}).request.read_only
    switched_off = chat(options={"repeat_penalty": 1.5, "repeat_last_n": 0}).request.sampling
    assert switched_off.repetition_penalty == 1


def test_formats_and_thinking_have_our_words() -> None:
    assert chat(format="json").request.constraint is not None
    schema = chat(format={"type": "object"}).request.constraint
    assert schema is not None and json.loads(schema.text) == {"type": "object"}
    assert chat(format="").request.constraint is None
    assert chat(think=False).request.enable_thinking is False
    assert chat(think="high").request.template_kwargs == {"reasoning_effort": "high"}
    assert chat(keep_alive="5m").request.keep_alive_seconds == 300


def test_messages_carry_calls_and_results() -> None:
    call = {"function": {"name": "look", "arguments": {"at": 1}}}
    parsed = chat(
        messages=[
            {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [call]},
            {"role": "tool", "content": "Seen", "tool_name": "look"},
        ]
    )
    calls = [ToolCallRecord("call_0", "look", '{"at":1}')]
    assert parsed.request.messages == [
        Message("assistant", "", reasoning="Hm.", tool_calls=calls),
        Message("tool", "Seen", name="look"),
    ]


def test_a_prompt_is_a_message_unless_it_is_raw() -> None:
    told = generate(system="Be brief.").request
    assert told.messages == [Message("system", "Be brief."), Message("user", "Hi")]
    assert generate(raw=True).request.prompt == "Hi"
    gap = generate(suffix="end").request
    assert (gap.prompt, gap.suffix, gap.messages) == ("Hi", "end", [])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"template": "x"}, "template"),
        ({"width": 64}, "width"),
        ({"raw": True, "images": ["eA=="]}, "images"),
        ({"options": {"tfs_z": 0.5}}, "options.tfs_z"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        generate(**body)
    assert caught.value.param == param


def test_errors_are_one_sentence_that_names_the_field() -> None:
    status, body = ollama_chat.error(Unsupported("No.", param="template"))
    assert (status, json.loads(body)) == (400, {"error": "template: No."})
    assert json.loads(ollama_chat.encoder(chat()).fail(TimedOut()))["error"]


def test_probabilities_have_bytes() -> None:
    from mlxgui.wire.ollama_answer import logprobs_of

    (found,) = logprobs_of([TokenProb("é", 1, -0.5, [TokenProb("e", 2, -1.0)])])
    assert found["bytes"] == [195, 169] and found["top_logprobs"][0]["token"] == "e"
