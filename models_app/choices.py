"""What a person chooses on the Discover page, and which models that leaves."""

from collections.abc import Iterable
from typing import Any, Self

from django.http import QueryDict
from msgspec import Struct

from mlxgui.engine.memory import GIB
from models_app.hub_facts import HubModel

KINDS = {
    "": "Any kind", "text": "Text", "vision": "Vision", "embedding": "Embeddings",
    "rerank": "Reranking", "stt": "Speech to text", "tts": "Text to speech", "image": "Images",
}  # fmt: skip
TASK_OF = {
    "text": "text-generation", "vision": "image-text-to-text", "rerank": "text-ranking",
    "stt": "automatic-speech-recognition", "tts": "text-to-speech", "image": "text-to-image",
}  # fmt: skip
SORTS = {
    "downloads": "Downloads", "trending": "Trending", "likes": "Likes",
    "updated": "Updated", "created": "Newest",
}  # fmt: skip
SIZES = {"": "Any size", "2": "Up to 2 GB", "4": "Up to 4 GB", "8": "Up to 8 GB",
         "16": "Up to 16 GB", "32": "Up to 32 GB", "64": "Up to 64 GB"}  # fmt: skip
QUANTIZATIONS = {"": "Any", "3-bit": "3-bit", "4-bit": "4-bit", "5-bit": "5-bit",
                 "6-bit": "6-bit", "8-bit": "8-bit", "bf16": "bf16 (none)"}  # fmt: skip


class Choice(Struct, frozen=True):
    query: str = ""
    kind: str = ""
    sort: str = "downloads"
    size: str = ""
    quantization: str = ""
    author: str = ""
    fits: bool = False

    @classmethod
    def of(cls, given: QueryDict) -> Self:
        """What makes no sense is as if it were not chosen."""

        def one(name: str, table: dict[str, str], default: str = "") -> str:
            value = given.get(name, default)
            return value if value in table else default

        return cls(
            query=given.get("query", "").strip()[:200],
            kind=one("kind", KINDS),
            sort=one("sort", SORTS, "downloads"),
            size=one("size", SIZES),
            quantization=one("quantization", QUANTIZATIONS),
            author=given.get("author", "").strip()[:100],
            fits=given.get("fits") == "on",
        )

    def question(self) -> dict[str, Any]:
        """What the hub itself can sort out."""
        return {"sort": self.sort, "task": TASK_OF.get(self.kind, ""), "author": self.author}

    def keeps(self, model: HubModel, room_bytes: int) -> bool:
        if self.kind and model.kind != self.kind:
            return False
        if self.size and not 0 < model.download_bytes <= int(self.size) * GIB:
            return False
        if self.quantization and model.quantization != self.quantization:
            return False
        return not self.fits or 0 < model.memory_bytes <= room_bytes

    def select(self, models: Iterable[HubModel], room_bytes: int) -> list[HubModel]:
        return [model for model in models if self.keeps(model, room_bytes)]
