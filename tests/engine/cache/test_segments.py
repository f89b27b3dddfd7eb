"""The cuts fall where the next prompt of a conversation leaves this one, whatever the template."""

from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mlxgui.engine.cache.segments import layout
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import Message

PLAIN = """
{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"""

# Thoughts are kept behind the last question and dropped before it, as Qwen3 does.
DROPS_OLD_THOUGHTS = """
{%- set ns = namespace(last=-1) -%}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor -%}
{%- for m in messages %}<|im_start|>{{ m.role }}\n
{%- if m.role == 'assistant' and loop.index0 > ns.last %}<think>\n{{ m.thought }}\n</think>\n\n
{%- endif %}{{ m.content }}<|im_end|>\n{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"""

# The generation prompt opens the thought, which the history does not show, as DeepSeek-R1 does.
OPENS_A_THOUGHT = """
{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"""

# Tools stand before the last question, wherever that is, as with Mistral.
MOVES_TOOLS = """
{%- for m in messages %}
{%- if m.role == 'user' and loop.last %}[TOOLS] search, read, write [/TOOLS]{% endif -%}
{{ m.role }}: {{ m.content }}<|im_end|>{% endfor -%}"""

# Roles must alternate, and a system prompt is refused.
STRICT = """
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif -%}
{{ m.role }}: {{ m.content }}<|im_end|>{% endfor -%}
{%- if add_generation_prompt %}assistant: {% endif %}"""

TEMPLATES = {
    "plain": PLAIN,
    "drops old thoughts": DROPS_OLD_THOUGHTS,
    "opens a thought": OPENS_A_THOUGHT,
    "moves the tools": MOVES_TOOLS,
}
SYSTEM = Message("system", "You know a great deal about import statements and classes. " * 2)
QUESTION = Message("user", "Alpine plants: which of them grow near glaciers, and why?")
TALK = [SYSTEM, QUESTION, Message("assistant", "Moss."), Message("user", "Only moss?")]


class Template:
    def __init__(self, source: str, tokenizer: Any) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=False)
        environment.globals["raise_exception"] = self.refuse
        self.source = environment.from_string(source)
        self.tokenizer = tokenizer

    def refuse(self, message: str) -> None:
        raise TemplateError(message)

    def render(self, messages: list[Message], whole: bool) -> str:
        plain = [{"role": m.role, "content": m.text, "thought": m.reasoning} for m in messages]
        try:
            return self.source.render(messages=plain, add_generation_prompt=whole)
        except TemplateError as error:
            raise BadRequest(str(error)) from error

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens))

    def tokens(self, messages: list[Message]) -> list[int]:
        return self.encode(self.render(messages, True))

    def layout(self, messages: list[Message], **options: Any) -> list[tuple[int, str]]:
        text = self.render(messages, True)
        return layout(
            messages,
            self.encode(text),
            text=text,
            render=self.render,
            encode=self.encode,
            decode=self.decode,
            **options,
        )


@pytest.fixture(scope="module")
def tokenizer(thinking_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(thinking_model)


def shared(some: list[int], other: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(some, other, strict=False)) if a != b), len(some))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_next_question_shares_all_up_to_a_cut(tokenizer: Any, name: str) -> None:
    template = Template(TEMPLATES[name], tokenizer)
    cuts = [end for end, kind in template.layout(TALK) if kind == "user"]
    answer = Message("assistant", "Yes, only moss.", reasoning="They ask again.")
    there = template.tokens([*TALK, answer, Message("user", "And above 4000 metres?")])
    same = shared(template.tokens(TALK), there)
    assert any(same - 1 <= cut <= same for cut in cuts), (same, cuts)


def test_within_a_turn_with_tools_both_futures_have_a_cut(tokenizer: Any) -> None:
    template = Template(DROPS_OLD_THOUGHTS, tokenizer)
    called = Message("assistant", "Let me look.", reasoning="A search is due.")
    talk = [SYSTEM, QUESTION, called, Message("tool", "Ten results")]
    cuts = [end for end, kind in template.layout(talk) if kind == "user"]
    tokens = template.tokens(talk)
    another = [*talk, Message("assistant", "Again.", reasoning="Hm."), Message("tool", "None")]
    question = [*talk, Message("assistant", "Moss."), Message("user", "Sure?")]
    for future in (another, question):
        same = shared(tokens, template.tokens(future))
        assert any(same - 3 <= cut <= same for cut in cuts), (same, cuts, len(tokens))
    assert len(cuts) == 2


def test_the_system_prompt_ends_where_any_question_begins(tokenizer: Any) -> None:
    template = Template(PLAIN, tokenizer)
    (end, kind), *_ = template.layout(TALK)
    assert kind == "system"
    other = template.tokens([SYSTEM, Message("user", "Quite another one")])
    assert shared(template.tokens(TALK), other) == end
    # A question that begins like the probe is no longer part of the system prompt.
    assert template.layout([SYSTEM, Message("user", "Alpha and Omega")])[0][0] == end


def test_where_states_can_be_cut_back_only_the_system_prompt_has_an_end(tokenizer: Any) -> None:
    template = Template(PLAIN, tokenizer)
    whole, less = template.layout(TALK), template.layout(TALK, turns=False)
    assert less == [whole[0], (len(template.tokens(TALK)), "user")]
    assert whole[0][1] == "system"


def test_a_template_that_refuses_the_probes_leaves_one_segment_less(tokenizer: Any) -> None:
    template = Template(STRICT, tokenizer)
    talk = [Message("user", "One"), Message("assistant", "Two"), Message("user", "Three")]
    size = len(template.tokens(talk))
    assert template.layout(talk) == [(size, "user")]
    only_tool = [*talk[:1], Message("tool", "x")]  # roles that cannot be continued either
    assert template.layout(only_tool)[-1][0] == len(template.tokens(only_tool))


def test_an_answer_to_be_continued_is_kept_whole(tokenizer: Any) -> None:
    template = Template("{% for m in messages %}{{ m.content }} {% endfor %}", tokenizer)
    talk = [QUESTION, Message("assistant", "Moss and")]
    assert template.layout(talk)[-1] == (len(template.tokens(talk)), "assistant")


def test_a_long_tail_is_found_without_reading_it_token_by_token(tokenizer: Any) -> None:
    tail = "{% if add_generation_prompt %}" + "Think hard. " * 40 + "{% endif %}"
    template = Template(PLAIN + tail, tokenizer)
    cuts = [end for end, kind in template.layout(TALK) if kind == "user"]
    assert template.decode(template.tokens(TALK)[: cuts[-1]]).endswith("assistant\n")
