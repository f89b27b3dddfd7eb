"""Finding models on the hub: questions are asked in threads, answers kept for a while."""

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from msgspec import Struct

from models_app import hub
from models_app.downloads import hub_token
from models_app.hub_facts import HubModel

FRESH_SECONDS = 600.0
MOST_ANSWERS = 200
CATEGORY_SOURCE = 200
CATEGORY_SIZE = 10
GIB = 1 << 30


class Answer[T](Struct, frozen=True):
    value: T
    age_seconds: float = 0.0
    warning: str = ""
    """Why this is an older answer."""


class _Kept:
    """Answers by question: fresh ones are given at once, old ones where the hub cannot be asked."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[Any, ...], tuple[float, Any]] = OrderedDict()

    async def ask[T](self, question: Callable[..., T], *args: Any, **options: Any) -> Answer[T]:
        token = await sync_to_async(hub_token)()
        key = (question.__name__, args, repr(sorted(options.items())), bool(token))
        at, value = self._answers.get(key, (0.0, None))
        age = max(0.0, time.time() - at)  # goes on while the computer sleeps
        if value is not None and age < FRESH_SECONDS:
            return Answer(value, age)
        try:
            found = await asyncio.to_thread(question, *args, token=token, **options)
        except hub.HubFailed as failure:
            if value is None or failure.status in (403, 404):
                raise
            return Answer(value, age, failure.message)
        self._answers[key] = time.time(), found
        while len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)
        return Answer(found)

    def forget(self) -> None:
        self._answers.clear()


kept = _Kept()


async def search(query: str = "", **options: Any) -> Answer[list[HubModel]]:
    return await kept.ask(hub.search, query, **options)


async def look(repository: str) -> Answer[HubModel]:
    return await kept.ask(hub.look, repository)


async def card(model: HubModel) -> str:
    found = await kept.ask(hub.card, model.repository, commit=model.commit, files=model.files)
    return found.value


async def embeddings(
    query: str, *, limit: int, sort: str = "downloads", author: str = ""
) -> Answer[list[HubModel]]:
    """They are filed under two tasks. By what is trending the two lists take turns: the hub does
    not say how much each trends."""
    tasks = ("feature-extraction", "sentence-similarity")
    asked = (search(query, task=task, limit=limit, sort=sort, author=author) for task in tasks)
    found = await asyncio.gather(*asked)
    turns = itertools.chain(*itertools.zip_longest(*(answer.value for answer in found)))
    merged = {model.repository: model for model in turns if model is not None}
    best = list(merged.values())
    if sort in ORDER:
        best.sort(key=ORDER[sort], reverse=True)
    warning = next((answer.warning for answer in found if answer.warning), "")
    return Answer(best[:limit], max(answer.age_seconds for answer in found), warning)


async def alternatives(model: HubModel) -> list[HubModel]:
    """The same base model in other forms; empty where that cannot be found out."""
    if not model.base_model:
        return []
    try:
        tags = ("mlx", f"base_model:{model.base_model}")
        found = await search("", tags=tags, limit=30)
    except hub.HubFailed:
        return []
    others = [one for one in found.value if one.repository != model.repository]
    return sorted(others, key=lambda one: one.weights_bytes)


NEVER = datetime.min.replace(tzinfo=UTC)
ORDER: dict[str, Callable[[HubModel], Any]] = {
    "downloads": lambda model: model.downloads,
    "likes": lambda model: model.likes,
    "created": lambda model: model.created_at or NEVER,
    "updated": lambda model: model.updated_at or NEVER,
}


def fitting(models: Iterable[HubModel], room_bytes: int) -> list[HubModel]:
    return [model for model in models if 0 < model.memory_bytes <= room_bytes]


async def categories() -> Answer[dict[str, list[str]]]:
    """The lists that MLX-GUI documents, from the most downloaded models."""
    answer = await search("", limit=CATEGORY_SOURCE)
    lists = {
        title: [model.repository for model in answer.value if belongs(model)][:CATEGORY_SIZE]
        for title, belongs in CATEGORIES.items()
    }
    return Answer(lists, answer.age_seconds, answer.warning)


def _is_for_code(model: HubModel) -> bool:
    return "code" in model.tags or "code" in model.name.lower()


CATEGORIES: dict[str, Callable[[HubModel], bool]] = {
    "Popular Text Models": lambda model: model.kind == "text",
    "Vision Models": lambda model: model.kind == "vision",
    "Multimodal Models": lambda model: model.task in ("any-to-any", "video-text-to-text"),
    "Code Models": _is_for_code,
    "Chat Models": lambda model: "conversational" in model.tags,
    "Embedding Models": lambda model: model.kind == "embedding",
    "Speech to Text Models": lambda model: model.kind == "stt",
    "Text to Speech Models": lambda model: model.kind == "tts",
    "Small Models (< 10GB)": lambda model: 0 < model.weights_bytes < 10 * GIB,
    "Large Models (> 50GB)": lambda model: model.weights_bytes > 50 * GIB,
}
