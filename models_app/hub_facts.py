"""What the hub's metadata says about a repository. Sizes come from tensor types and file sizes,
never from names."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from mlxgui.engine.plan import PLANNED_CONTEXT_TOKENS, kv_bytes_per_token, planned_bytes
from mlxgui.engine.spec import Kind
from models_app.inspection import BrokenFolder
from models_app.inspection.architectures import context_tokens, kind_of, known_types
from models_app.inspection.architectures import quantization_of as local_quantization
from models_app.inspection.weights import DTYPE_BITS, DTYPE_LABELS, Tensors, count_parameters

TASKS: dict[str, Kind] = {
    "text-generation": "text",
    "text2text-generation": "text",
    "image-text-to-text": "vision",
    "video-text-to-text": "vision",
    "any-to-any": "vision",
    "visual-question-answering": "vision",
    "feature-extraction": "embedding",
    "sentence-similarity": "embedding",
    "text-ranking": "rerank",
    "automatic-speech-recognition": "stt",
    "text-to-speech": "tts",
    "text-to-audio": "tts",
    "text-to-image": "image",
    "image-to-image": "image",
}
BITS_TAG = re.compile(r"([2-8])-bit")


class HubFile(Struct, frozen=True):
    path: str
    size_bytes: int
    wanted: bool
    """Whether a download fetches it."""


class HubModel(Struct, frozen=True, kw_only=True):
    """One repository. 0 and "" mean: the hub does not say."""

    repository: str
    kind: str = ""
    architecture: str = ""
    downloads: int = 0
    likes: int = 0
    tags: list[str] = []
    task: str = ""
    library: str = ""
    gated: bool = False
    commit: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    weights_bytes: int = 0
    parameters: int = 0
    quantization: str = ""
    base_model: str = ""
    license: str = ""
    context_tokens: int = 0
    kv_bytes_per_token: int = 0
    files: list[HubFile] = []

    @property
    def author(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def name(self) -> str:
        return self.repository.rpartition("/")[2]

    @property
    def is_mlx(self) -> bool:
        return "mlx" in self.tags or self.library == "mlx" or self.author == "mlx-community"

    @property
    def download_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files if file.wanted) or self.weights_bytes

    @property
    def memory_bytes(self) -> int:
        """With a context of up to 8192 tokens; the KV cache counts where the config is known."""
        return self.memory_at(self.planned_tokens)

    @property
    def planned_tokens(self) -> int:
        return min(self.context_tokens or PLANNED_CONTEXT_TOKENS, PLANNED_CONTEXT_TOKENS)

    def memory_at(self, tokens: int) -> int:
        if not self.weights_bytes:
            return 0
        return planned_bytes(self.weights_bytes, self.kv_bytes_per_token, tokens)

    @property
    def description(self) -> str:
        made_from = self.base_model or self.name
        form = f", {self.quantization}" if self.quantization else ""
        return f"{made_from} in MLX format{form}" if self.is_mlx else made_from


def from_listing(info: Any) -> HubModel:
    """Of what `list_models` and `model_info` both give."""
    config = info.config or {}
    tags = list(info.tags or [])
    counts = dict(info.safetensors.parameters) if info.safetensors else {}
    bits = bits_of(config, tags)
    architecture = str(config.get("model_type") or "")
    card = _card(info)
    return HubModel(
        repository=info.id,
        kind=kind_from(info.pipeline_tag or "", architecture),
        architecture=architecture,
        downloads=info.downloads or 0,
        likes=info.likes or 0,
        tags=tags,
        task=info.pipeline_tag or "",
        library=info.library_name or "",
        gated=bool(info.gated),
        commit=info.sha or "",
        created_at=info.created_at,
        updated_at=info.last_modified,
        weights_bytes=bytes_of(counts),
        parameters=parameters_of(counts, bits),
        quantization=f"{bits}-bit" if bits else main_type(counts),
        base_model=_base_model(card, tags),
        license=str(card.get("license") or ""),
    )


def with_details(
    model: HubModel, files: Sequence[HubFile], config: dict[str, Any], tensors: Tensors
) -> HubModel:
    """The same, more exactly: from the files' sizes, config.json and the weights' headers."""
    weights = sum(f.size_bytes for f in files if f.path.endswith(".safetensors"))
    label, group = local_quantization(config)
    return structs.replace(
        model,
        files=list(files),
        kind=_kind_by_files(model, files, config, tensors),
        architecture=str(config.get("model_type") or model.architecture),
        weights_bytes=weights or model.weights_bytes,
        parameters=count_parameters(tensors, group) if tensors else model.parameters,
        quantization=label or model.quantization,
        context_tokens=context_tokens(config),
        kv_bytes_per_token=kv_bytes_per_token(config),
    )


def _kind_by_files(
    model: HubModel, files: Sequence[HubFile], config: dict[str, Any], tensors: Tensors
) -> str:
    if any(file.path in ("modules.json", "1_Pooling/config.json") for file in files):
        return "embedding"
    try:
        return kind_of(Path("/nonexistent"), model.name, config, tensors) if config else model.kind
    except BrokenFolder:
        return model.kind


def kind_from(task: str, architecture: str) -> str:
    """By the task that it is filed under, else by the library that knows its architecture."""
    if task in TASKS:
        return TASKS[task]
    for library, kind in (("mlx_lm", "text"), ("mlx_vlm", "vision")):
        if architecture and architecture in known_types(library):
            return kind
    return ""


def bits_of(config: Mapping[str, Any], tags: Sequence[str]) -> int:
    """From the config as the hub read it, else from the tag that the hub derives from it."""
    for key in ("quantization", "quantization_config"):
        found = config.get(key)
        if isinstance(found, dict) and isinstance(found.get("bits"), int):
            return int(found["bits"])
    marks = [match[1] for tag in tags if (match := BITS_TAG.fullmatch(tag))]
    return int(marks[0]) if marks else 0


def bytes_of(counts: Mapping[str, int]) -> int:
    return sum(count * DTYPE_BITS.get(dtype, 16) for dtype, count in counts.items()) // 8


def parameters_of(counts: Mapping[str, int], bits: int) -> int:
    """Packed weights lie in 32-bit words, and bring a scale and a bias for each group of 64."""
    packed = counts.get("U32", 0)
    rest = sum(count for dtype, count in counts.items() if dtype != "U32")
    if not bits or not packed:
        return packed + rest
    unpacked = packed * 32 // bits
    return unpacked + max(0, rest - unpacked // 32)


def main_type(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    dtype = max(counts, key=lambda one: counts[one] * DTYPE_BITS.get(one, 16))
    return DTYPE_LABELS.get(dtype, dtype.lower())


def _card(info: Any) -> dict[str, Any]:
    return info.card_data.to_dict() if info.card_data else {}


def _base_model(card: Mapping[str, Any], tags: Sequence[str]) -> str:
    found = card.get("base_model")
    if isinstance(found, list):
        found = found[0] if found else ""
    if found:
        return str(found)
    named = [tag for tag in tags if tag.startswith("base_model:") and tag.count(":") == 1]
    return named[0].partition(":")[2] if named else ""
