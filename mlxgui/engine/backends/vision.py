"""Vision models over mlx-vlm: the text backend, whose prompts may hold pictures and sounds.

See docs/decisions/0013 for how requests with and without pictures share one batch.
"""

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm.utils
import mlx_vlm.utils
import msgspec
from mlx.utils import tree_flatten
from mlx_lm.models.cache import KVCache
from msgspec import structs

from mlxgui.engine.backends.drawing import Processor
from mlxgui.engine.backends.entry import Entry, Prefilled
from mlxgui.engine.backends.loading import embedding_rows
from mlxgui.engine.backends.prompts import Prompt
from mlxgui.engine.backends.rows import Choice, Row
from mlxgui.engine.backends.scheduler import Scheduler
from mlxgui.engine.backends.text import TextBackend
from mlxgui.engine.backends.vision_model import (
    Language,
    Place,
    Reading,
    Standing,
    is_keepable,
    without_standing,
)
from mlxgui.engine.backends.vision_prompts import PicturePrompt, PicturePrompter, has_media
from mlxgui.engine.backends.vision_reading import Reader
from mlxgui.engine.backends.vision_trial import can_decode_together, can_read_together
from mlxgui.engine.cache.entries import Kind
from mlxgui.engine.cache.prompt_cache import Found, PromptCache
from mlxgui.engine.cache.segments import Layout
from mlxgui.engine.errors import LoadFailed
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import GenerationRequest

log = logging.getLogger("worker.vision")

DEFAULT_SAMPLING_RATE = 16_000


class PictureScheduler(Scheduler):
    """Prompts with pictures are prefilled one at a time, and whole where they must be."""

    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(model, **options)
        self.can_cut = all(type(layer) is KVCache for layer in model.bare_cache())
        self._least_tokens = 0

    def _choose(self) -> list[Entry]:
        """A model that is alone knows one prompt at a time: what is begun is read to its end."""
        begun = [one for one in self.waiting if one.batch] if self.model.is_alone else []
        return begun[:1] or super()._choose()

    def _may_join(self, entry: Entry) -> bool:
        alone = not self.model.reads_together or _reading_of(entry) is not None
        return not alone and super()._may_join(entry)

    def _may_cut(self, entry: Entry) -> bool:
        reading = _reading_of(entry)
        return reading is None or not reading.is_whole

    def _prefill_chunk(self, chosen: list[Entry]) -> tuple[list[Prefilled], int]:
        reading = _reading_of(chosen[0])
        # A model that is alone knows one prompt at a time, so no other may come in between.
        whole = self.model.is_alone or (reading is not None and reading.is_whole)
        self._least_tokens = chosen[0].left_tokens if whole else 0
        return super()._prefill_chunk(chosen)

    def _chunk(self, seconds: float) -> int:
        return max(super()._chunk(seconds), self._least_tokens)


class KeptPrompts:
    """The prompt cache, which is handed the layers that hold keys and gets no others."""

    def __init__(self, kept: PromptCache) -> None:
        self._kept = kept

    def store(self, tokens: list[int], cache: list[Any], kind: Kind) -> None:
        layers = without_standing(cache)
        if is_keepable(layers):
            self._kept.store(tokens, layers, kind)

    def reached(self, tokens: list[int], kind: Kind) -> bool:
        return self._kept.reached(tokens, kind)

    def fetch(self, tokens: list[int], layout: Layout) -> Found:
        return self._kept.fetch(tokens, layout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)


class VisionBackend(TextBackend):
    scheduler_type = PictureScheduler
    may_be_drafted = False

    def load(self, spec: ModelSpec, report: Callable[[float], None]) -> dict[str, Any]:
        facts = super().load(spec, report)
        rate = _sampling_rate(self.processor, self.whole)
        one_at_most = not getattr(self.processor, "supports_multiple_audio", False)
        self.prompter: PicturePrompter = PicturePrompter(
            self.tokenizer,
            embedding_rows(self.whole.language_model),
            spec.context_tokens,
            model_type=str(self.whole.config.model_type),
            mark=str(getattr(self.processor, "image_token", "") or ""),
            sampling_rate=rate,
            sounds=1 if one_at_most else 0,
            sound_seconds=_most_seconds(self.processor),
        )
        self.prompter.cuts_at_turns = not self.scheduler.can_cut
        self.prompt_cache: Any = KeptPrompts(self.prompt_cache)
        self.reader = Reader(self.model, self.processor, self.prompter)
        alone = self.model.is_alone
        return {**facts, "vision": True, "audio": rate > 0, "batches": not alone}

    def open_model(self, folder: Path, spec: ModelSpec) -> tuple[Any, Any]:
        trusted = spec.options.trust_remote_code
        self.whole, self.processor = mlx_vlm.utils.load(
            str(folder),
            adapter_path=spec.adapter_path or None,
            lazy=True,
            trust_remote_code=trusted,
        )
        if spec.adapter_path:
            check_adapter(self.whole, Path(spec.adapter_path))
        for name in ("language_model", "get_input_embeddings"):
            if not hasattr(self.whole, name):
                raise LoadFailed(f"mlx-vlm has no {name} of this model: it does not chat.")
        if getattr(self.whole.config, "is_encoder_decoder", False):
            raise LoadFailed("It is an encoder-decoder, which does not chat.")
        language = Language(self.whole, spec.options.max_kv_tokens)
        eos = getattr(self.whole.config, "eos_token_id", None)
        tokenizer = mlx_lm.utils.load_tokenizer(
            folder, {"trust_remote_code": trusted}, eos_token_ids=eos
        )
        return language, _with_template(tokenizer, self.processor)

    def weights_are_read(self) -> None:
        language = self.model
        if can_decode_together(language):
            language.reads_together = can_read_together(language)
            return
        log.info("%s answers one request at a time", self.spec.name)
        language.is_alone = True
        options = structs.replace(self.spec.options, max_parallel=1)
        self.spec = structs.replace(self.spec, options=options)

    # -- requests ---------------------------------------------------------------------------------

    def add(self, id: int, prepared: Prompt) -> None:
        if isinstance(prepared, PicturePrompt) and prepared.reading is None:
            self.reader.read(prepared)
            self.budget.admitted(prepared)  # its tokens are known only now
        super().add(id, prepared)

    def _insert(self, row: Row) -> None:
        if isinstance(row.prompt, PicturePrompt):
            for choice in row.choices:
                self._hide_pictures(choice)
        super()._insert(row)
        entry, reading = row.entry, getattr(row.prompt, "reading", None)
        assert entry is not None
        if reading is None and entry.cache is None:
            return  # the scheduler makes one
        place = Place(0, reading.shift if reading is not None else 0, reading)
        place.advance(len(entry.prefix))
        entry.cache = [*(entry.cache or self.model.bare_cache()), Standing([place])]

    def _hide_pictures(self, choice: Choice) -> None:
        """Penalties look tokens up in the logits, where a picture's numbers do not exist."""
        stand_in = min(self.reader.placeholders, default=0)
        choice.plan.processors = [
            _with_stand_in(processor, self.vocabulary, stand_in)
            for processor in choice.plan.processors
        ]

    # -- questions --------------------------------------------------------------------------------

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "tokenize":
            request = msgspec.convert(arguments["request"], GenerationRequest)
            if has_media(request):
                ids = self._tokens_of(request)
                wanted = ids if arguments.get("pieces") else []
                return {"tokens": ids, "pieces": [self.tokenizer.decode([id]) for id in wanted]}
        answer = super().call(name, arguments)
        if name == "stats":
            answer["encoded_images"] = self.reader.encoded.stats()
        if name == "reset_cache":
            self.reader.encoded.clear()
        return answer

    def _tokens_of(self, request: GenerationRequest) -> list[int]:
        prompt = self.prompter.prompt(request)
        return self.reader.count(prompt) if isinstance(prompt, PicturePrompt) else prompt.tokens


def check_adapter(whole: Any, folder: Path) -> None:
    """mlx-vlm passes over weights that the model has no place for. Raises LoadFailed where it would
    have passed over all."""
    places = {name for name, _ in tree_flatten(whole.parameters())}
    files = [folder] if folder.is_file() else sorted(folder.glob("*.safetensors"))
    weights: list[Any] = [mx.load(str(file)) for file in files]
    if not any(places & one.keys() for one in weights):
        raise LoadFailed("The adapter was trained for another model: none of its weights fits.")


def _reading_of(entry: Entry) -> Reading | None:
    """What an entry reads instead of tokens, before and after its batch was opened."""
    layers = entry.batch.prompt_cache if entry.batch is not None else entry.cache
    for layer in layers or []:
        if isinstance(layer, Standing):
            return layer.reading
    return None


def _with_stand_in(processor: Processor, vocabulary: int, stand_in: int) -> Processor:
    def wrapped(context: mx.array, logits: mx.array) -> mx.array:
        return processor(mx.where(context < vocabulary, context, stand_in), logits)

    return wrapped


def _with_template(tokenizer: Any, processor: Any) -> Any:
    """Some folders keep the chat template with the processor."""
    inner = getattr(processor, "tokenizer", processor)
    template = getattr(processor, "chat_template", None) or getattr(inner, "chat_template", None)
    if not tokenizer.has_chat_template and isinstance(template, str):
        tokenizer.chat_template = template
        tokenizer.has_chat_template = True
    return tokenizer


def _sampling_rate(processor: Any, whole: Any) -> int:
    """Of the sounds that it hears, in Hz; 0 = none."""
    parameters = inspect.signature(getattr(processor, "process", processor)).parameters
    towers = ("audio_tower", "audio_encoder", "audio_model", "embed_audio")
    # Sizes of one family hear and others do not: these have the name of a tower, and nothing in it.
    has_tower = any(getattr(whole, tower, None) is not None for tower in towers)
    if not {"audio", "audios"} & set(parameters) or not has_tower:
        return 0
    extractor = getattr(processor, "feature_extractor", None)
    return int(getattr(extractor, "sampling_rate", DEFAULT_SAMPLING_RATE))


def _most_seconds(processor: Any) -> float:
    """Of one sound; 0 = the processor does not say."""
    rows = getattr(processor, "audio_seq_length", 0) or 0
    return float(rows * (getattr(processor, "audio_ms_per_token", 0) or 0) / 1000)


def make() -> VisionBackend:
    return VisionBackend()
