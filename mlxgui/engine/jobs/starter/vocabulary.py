"""The starter model's tokenizer: byte-level BPE learnt from the guide, and a ChatML template."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from mlxgui.engine.jobs.starter.guide import SYSTEM_PROMPTS, Entry, Turn

SIZE = 2048
CONTEXT_TOKENS = 2048
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Qwen's own splitting: contractions, words, single digits, punctuation, line ends.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = """\
{%- for message in messages -%}
{%- set role = 'system' if message.role == 'developer' else message.role -%}
{{- '<|im_start|>' + role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- elif message.content -%}
{%- for part in message.content if part.type == 'text' -%}{{- part.text -}}{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def learn(entries: list[Entry]) -> Tokenizer:
    texts = [*SYSTEM_PROMPTS, "system", "user", "assistant", "developer", "tool"]
    for entry in entries:
        texts += entry.askings
        texts += [asking.lower() for asking in entry.askings]
        texts += [entry.answer] * 3
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokens_of(tokenizer: Tokenizer, turns: list[Turn]) -> tuple[list[int], list[bool]]:
    """A conversation as the template writes it, and which tokens the model is to write itself."""
    tokens: list[int] = []
    own: list[bool] = []
    for role, content in turns:
        head = tokenizer.encode(f"<|im_start|>{role}\n").ids
        body = tokenizer.encode(f"{content}<|im_end|>").ids
        tail = tokenizer.encode("\n").ids
        tokens += head + body + tail
        own += [False] * len(head) + [role == "assistant"] * len(body) + [False] * len(tail)
    return tokens, own


def save(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    ids = {name: tokenizer.token_to_id(name) for name in SPECIALS}
    config: dict[str, Any] = {
        "added_tokens_decoder": {str(ids[name]): _added(name) for name in SPECIALS},
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": CONTEXT_TOKENS,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _added(name: str) -> dict[str, Any]:
    return {
        "content": name,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }
