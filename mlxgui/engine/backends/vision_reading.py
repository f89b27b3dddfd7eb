"""From a prompt with pictures to what the language model reads. Runs on the mlx thread.

Each picture is encoded by itself, once: its rows are kept by its content and put into every prompt
that holds it. Families whose pictures cannot be told apart in the prompt are encoded with it.
"""

import hashlib
from collections import OrderedDict
from itertools import groupby
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_vlm.generate.common import _chunked_prefill_enabled
from mlx_vlm.utils import prepare_inputs

from mlxgui.engine.backends.vision_model import Language, Reading
from mlxgui.engine.backends.vision_prompts import PicturePrompt, PicturePrompter
from mlxgui.engine.errors import BadRequest, Unsupported

ENCODED_BYTES = 256 << 20
"""What encoded pictures may take; one of 1,000 rows takes some MB."""

PER_PICTURE = frozenset(
    ("inputs_embeds", "position_ids", "rope_deltas", "visual_pos_masks", "deepstack_visual_embeds")
)
"""What can be put together from pictures encoded one by one."""
ROWS = ("inputs_embeds", "visual_pos_masks", "deepstack_visual_embeds")
"""Of these, what has one row per token: (1, tokens, ...)."""
RUN_KEYS = ("image_token_id", "image_token_index", "image_token")
KEY_BASE = 1 << 30
"""In the prompt cache a picture's tokens have numbers of its content, beyond any vocabulary."""

Rows = dict[str, mx.array]


class Encoded:
    """Rows of pictures by digest; the one unused for longest leaves first."""

    def __init__(self, bound_bytes: int = ENCODED_BYTES) -> None:
        self.bound_bytes = bound_bytes
        self.bytes = self.hits = self.misses = 0
        self._kept: OrderedDict[bytes, Rows] = OrderedDict()

    def get(self, digest: bytes) -> Rows | None:
        found = self._kept.get(digest)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(digest)
        return found

    def put(self, digest: bytes, rows: Rows) -> None:
        if digest in self._kept:
            return
        self._kept[digest] = rows
        self.bytes += _bytes_of(rows)
        while self.bytes > self.bound_bytes:
            self.bytes -= _bytes_of(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0

    def stats(self) -> dict[str, int]:
        return {
            "images": len(self._kept),
            "bytes": self.bytes,
            "max_bytes": self.bound_bytes,
            "hits": self.hits,
            "misses": self.misses,
        }


class Inputs:
    """What a processor made of a text and its pictures."""

    def __init__(self, made: dict[str, Any]) -> None:
        self.extras = dict(made)
        self.ids: mx.array = self.extras.pop("input_ids")
        self.pixels = self.extras.pop("pixel_values", None)
        self.mask = self.extras.pop("attention_mask", None)


class Reader:
    """Args:
    language: the model as the scheduler sees it.
    processor: the model's own.
    prompter: makes its texts.
    """

    def __init__(self, language: Language, processor: Any, prompter: PicturePrompter) -> None:
        self.language = language
        self.whole: Any = language.whole
        self.processor = processor
        self.prompter = prompter
        self.encoded = Encoded()
        self.placeholders = _placeholders(self.whole.config, processor)
        self._is_separable = True
        self._has_axes = hasattr(self.whole.language_model, "get_rope_index")

    def read(self, prompt: PicturePrompt) -> None:
        """Fill in its tokens, how long its answer may be, and its reading. Raises BadRequest."""
        inputs = self._processed(prompt.text, prompt.pictures, prompt.sounds)
        ids: list[int] = np.array(inputs.ids[0]).tolist()
        if ids[-1] in self.placeholders:
            raise Unsupported(
                "The prompt ends with an image; put text behind it.", param="messages"
            )
        runs = self._runs(ids)
        embedded = self._together(prompt, inputs, runs)
        embeddings = embedded.pop("inputs_embeds")
        shift = embedded.get("rope_deltas")
        if not self.language.is_alone:
            embedded.pop("rope_deltas", None)  # `Standing` knows it
        extras = {**inputs.extras, **embedded}
        prompt.reading = Reading(
            ids=inputs.ids,
            embeddings=embeddings,
            extras=extras,
            length=embeddings.shape[1],
            end=embeddings.shape[1] - (not self.language.is_alone),
            shift=0 if shift is None else int(np.array(shift).reshape(-1)[0]),
            is_whole=not _chunked_prefill_enabled(
                self.whole,
                input_ids=inputs.ids,
                inputs_embeds=embeddings,
                prefill_kwargs=extras,
            ),
        )
        mx.eval(embeddings)
        prompt.tokens = self._keys(prompt, ids, runs)
        prompt.layout = [(len(prompt.tokens), "assistant")]
        prompt.max_tokens = self.prompter.room(prompt)

    def count(self, prompt: PicturePrompt) -> list[int]:
        """The prompt's tokens, without encoding its pictures."""
        inputs = self._processed(prompt.text, prompt.pictures, prompt.sounds)
        ids: list[int] = np.array(inputs.ids[0]).tolist()
        return ids

    # -- pictures and text into rows --------------------------------------------------------------

    def _processed(self, text: str, pictures: list[Any], sounds: list[Any]) -> Inputs:
        try:
            made = prepare_inputs(
                self.processor,
                images=list(pictures) or None,
                audio=list(sounds) or None,
                prompts=text,
                image_token_index=getattr(self.whole.config, "image_token_index", None),
                add_special_tokens=not self.prompter.tokenizer.has_chat_template,
            )
        except Exception as error:
            raise BadRequest(
                f"The model's processor refuses these images: {error}", param="messages"
            ) from error
        return Inputs(made)

    def _together(
        self, prompt: PicturePrompt, inputs: Inputs, runs: list[tuple[int, int]]
    ) -> dict[str, Any]:
        """The arguments of the language model for the whole prompt."""
        if self._is_separable and not prompt.sounds and len(runs) == len(prompt.pictures):
            pairs = zip(prompt.digests, prompt.pictures, strict=True)
            rows = [self._rows(digest, picture) for digest, picture in pairs]
            if self._is_separable and _lengths(rows) == [end - start for start, end in runs]:
                return self._composed(inputs, runs, rows)
        return self._embedded(inputs)

    def _embedded(self, inputs: Inputs) -> dict[str, Any]:
        made = self.whole.get_input_embeddings(
            inputs.ids, inputs.pixels, mask=inputs.mask, **inputs.extras
        )
        return {name: value for name, value in made.to_dict().items() if value is not None}

    def _rows(self, digest: bytes, picture: Any) -> Rows:
        """One picture's rows; empty where this family's pictures cannot be had one by one."""
        if (known := self.encoded.get(digest)) is not None:
            return known
        inputs = self._processed(self.prompter.alone(), [picture], [])
        runs = self._runs(np.array(inputs.ids[0]).tolist())
        embedded = self._embedded(inputs)
        if _lets_all_see(embedded.get("attention_mask_4d")):
            embedded.pop("attention_mask_4d")
        if len(runs) != 1 or not set(embedded) <= PER_PICTURE:
            self._is_separable = False
            return {}
        ((start, end),) = runs
        rows = {
            name: mx.contiguous(embedded[name][:, start:end]) for name in ROWS if name in embedded
        }
        mx.eval(list(rows.values()))
        self.encoded.put(digest, rows)
        return rows

    def _composed(
        self, inputs: Inputs, runs: list[tuple[int, int]], rows: list[Rows]
    ) -> dict[str, Any]:
        """The text's rows with those of the pictures in their places."""
        made = self._embedded(Inputs({"input_ids": inputs.ids, "attention_mask": inputs.mask}))
        made = {name: made[name] for name in made if name in ("inputs_embeds", "visual_pos_masks")}
        length = inputs.ids.shape[1]
        for name in rows[0]:
            if name not in made:
                made[name] = mx.zeros((1, length, *rows[0][name].shape[2:]), rows[0][name].dtype)
            for (start, end), one in zip(runs, rows, strict=True):
                made[name][:, start:end] = one[name].astype(made[name].dtype)
        if self._has_axes:
            grids = inputs.extras.get("image_grid_thw")
            positions, shift = self.whole.language_model.get_rope_index(
                inputs.ids, grids, None, inputs.mask
            )
            made["position_ids"], made["rope_deltas"] = positions, shift
        return made

    # -- what tells pictures apart in the prompt cache ---------------------------------------------

    def _runs(self, ids: list[int]) -> list[tuple[int, int]]:
        """Where placeholders stand side by side: (start, end) of each run."""
        runs, at = [], 0
        for is_placeholder, group in groupby(ids, key=lambda id: id in self.placeholders):
            count = len(list(group))
            if is_placeholder:
                runs.append((at, at + count))
            at += count
        return runs

    def _keys(
        self, prompt: PicturePrompt, ids: list[int], runs: list[tuple[int, int]]
    ) -> list[int]:
        """One number per row: the token's own, or one of the picture's content.

        Where a run is no single picture, its numbers are those of all media together; where a
        prompt must be read whole, or its rows are not its tokens, so are all but the last.
        """
        sounds = [np.asarray(sound).tobytes() for sound in prompt.sounds]
        everything = hashlib.sha256(b"".join([*prompt.digests, *sounds])).digest()
        length = prompt.reading.length
        if prompt.reading.is_whole or length != len(ids) or prompt.sounds or not runs:
            whole = hashlib.sha256(everything + repr(ids).encode()).digest()
            return [*_numbers(whole, length - 1), ids[-1]]
        keys = list(ids)
        is_each = len(runs) == len(prompt.digests)
        for i, (start, end) in enumerate(runs):
            digest = prompt.digests[i] if is_each else everything + bytes([i % 256])
            keys[start:end] = _numbers(digest, end - start)
        return keys


def _numbers(digest: bytes, count: int) -> list[int]:
    """`count` numbers from KEY_BASE on that follow from the digest."""
    stream = hashlib.shake_128(digest).digest(4 * count)
    made: list[int] = ((np.frombuffer(stream, "<u4") >> 2) + KEY_BASE).tolist()
    return made


def _placeholders(config: Any, processor: Any) -> frozenset[int]:
    """Tokens that stand for a row of a picture."""
    found = [getattr(holder, key, None) for holder in (config, processor) for key in RUN_KEYS]
    return frozenset(token for token in found if isinstance(token, int))


def _lengths(rows: list[Rows]) -> list[int]:
    return [one["inputs_embeds"].shape[1] for one in rows if one]


def _lets_all_see(mask: mx.array | None) -> bool:
    """A mask that hides nothing, such as Gemma 3's of a prompt without padding."""
    return mask is not None and bool(mx.all(mask != 0).item())


def _bytes_of(rows: Rows) -> int:
    return sum(int(array.nbytes) for array in rows.values())
