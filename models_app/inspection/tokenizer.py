"""Tokenizer files and chat template: are they there, and what can the model do with them."""

import re
from pathlib import Path
from typing import Any

import msgspec

from mlxgui.engine.spec import Kind
from models_app.inspection.facts import BrokenFolder
from models_app.inspection.files import read_bytes, read_object

WITHOUT_TOKENIZER: tuple[Kind, ...] = ("stt", "tts", "image")
OTHER_TOKENIZERS = (
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.txt",
    "vocab.json",
    "tekken.json",
    "tiktoken.model",
)
# As mlx_lm's tokenizer wrapper tells a thinking model by its vocabulary.
THINKING_MARKS = ("<think>", "<longcat_think>", "<|think:start|>", "<|channel>thought")
TOOLS_MARK = re.compile(r"\btools\b")


class _Added(msgspec.Struct):
    id: int
    content: str


class _Model(msgspec.Struct):
    vocab: dict[str, int] | list[Any] = {}

    @property
    def entries(self) -> int:
        if isinstance(self.vocab, list):
            return len(self.vocab)
        return max(self.vocab.values(), default=-1) + 1


class Tokenizer(msgspec.Struct):
    """The parts of tokenizer.json that matter here."""

    model: _Model
    added_tokens: list[_Added] = []

    def knows(self, token: str) -> bool:
        if any(added.content == token for added in self.added_tokens):
            return True
        return isinstance(self.model.vocab, dict) and token in self.model.vocab


_decoder = msgspec.json.Decoder(Tokenizer)


def read_tokenizer(folder: Path, kind: Kind) -> Tokenizer | None:
    """tokenizer.json, None where another form of tokenizer does, or BrokenFolder."""
    data = read_bytes(folder / "tokenizer.json")
    if data is not None:
        try:
            return _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenFolder(
                "tokenizer.json is damaged or incomplete. Download it again."
            ) from error
    others = any((folder / name).is_file() for name in OTHER_TOKENIZERS)
    if others or any(folder.glob("*.tiktoken")) or kind in WITHOUT_TOKENIZER:
        return None
    raise BrokenFolder(
        "There is no tokenizer (tokenizer.json) in the folder. Download the missing files of "
        "the model again."
    )


def check_fits(tokenizer: Tokenizer, embedding_rows: int, config: dict[str, Any]) -> None:
    """A token without an embedding row reads memory that is not the model's.

    Sound models exist whose last few added tokens have no row (Gemma 3 1B): the engine refuses
    those one by one. Here the vocabulary itself and the tokens that end a reply must fit.
    """
    ends = config.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends]
    needed = max([tokenizer.model.entries, *(end + 1 for end in ends if isinstance(end, int))])
    if embedding_rows and needed > embedding_rows:
        raise BrokenFolder(
            f"The tokenizer knows {needed:,} tokens, the model only {embedding_rows:,}: they do "
            "not belong together. Download the model again, tokenizer and weights alike."
        )


def chat_template(folder: Path) -> str:
    """All of the folder's templates in one text: what they mention is what is asked of them."""
    found = [(read_bytes(folder / "chat_template.jinja") or b"").decode(errors="replace")]
    for name in ("chat_template.json", "tokenizer_config.json"):
        found.append(_template_text(read_object(folder / name).get("chat_template")))
    return "\n".join(text for text in found if text)


def _template_text(value: Any) -> str:
    """A template is a string, or a list of named ones."""
    if isinstance(value, list):
        return "\n".join(_template_text(item.get("template")) for item in value if item)
    return value if isinstance(value, str) else ""


def capabilities(kind: Kind, template: str, tokenizer: Tokenizer | None) -> dict[str, bool]:
    talks = kind in ("text", "vision")
    thinks = any(
        mark in template or (tokenizer is not None and tokenizer.knows(mark))
        for mark in THINKING_MARKS
    )
    return {
        "chat_template": talks and bool(template),
        "tools": talks and bool(TOOLS_MARK.search(template)),
        "thinking": talks and thinks,
        "vision": kind == "vision",
    }
