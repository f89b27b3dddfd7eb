"""The hub as the web process asks it: lists, one repository, its card. Called in threads only.

huggingface_hub is imported at the first question. Downloads do not go through here; they are jobs.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings

from mlxgui.engine.errors import EngineError
from mlxgui.engine.jobs.hub_errors import Trouble, explain
from mlxgui.engine.jobs.transfer import is_wanted
from models_app.hub_facts import HubFile, HubModel, from_listing, with_details
from models_app.inspection.weights import Tensor, Tensors

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
LARGEST_TEXT_BYTES = 1 << 20
MOST_HEADERS = 4
"""Weight files whose headers are read; with more, the hub's own count has to do."""
SORTS = {"downloads": "downloads", "likes": "likes", "created": "created_at",
         "updated": "last_modified", "trending": "trending_score"}  # fmt: skip
PROPERTIES = [
    "author", "cardData", "config", "createdAt", "downloads", "gated", "lastModified",
    "library_name", "likes", "pipeline_tag", "safetensors", "sha", "tags",
]  # fmt: skip
STATUS = {"missing": 404, "gated": 403, "token": 403, "rate_limit": 429, "offline": 503}


class HubFailed(EngineError):
    """The hub could not answer."""

    code = "hub_failed"

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble
        self.status = STATUS.get(trouble.code, 502)


def asks_hub[**P, R](question: Callable[P, R]) -> Callable[P, R]:
    """Whatever goes wrong becomes a HubFailed with words for people."""

    @wraps(question)
    def ask(*args: P.args, **kwargs: P.kwargs) -> R:
        client()
        try:
            return question(*args, **kwargs)
        except HubFailed:
            raise
        except Exception as error:
            named = args[0] if args and question.__name__ != "search" else ""
            raise HubFailed(explain(error, str(named))) from error

    return ask


_first_use = threading.Lock()


def client() -> None:
    """Set the library up, once: no telemetry, and no waiting where a person waits."""
    with _first_use:
        _set_up()


@cache
def _set_up() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import httpx2
    from huggingface_hub.utils import hf_raise_for_status, set_client_factory

    limits = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS).as_dict()

    class Impatient(httpx2.Client):
        """The library itself would wait without bound, and try five times with pauses."""

        def send(self, request: Any, **options: Any) -> Any:
            request.extensions["timeout"] = limits
            try:
                response = super().send(request, **options)
            except httpx2.TransportError as error:
                raise ConnectionError(str(error)) from error
            if response.status_code == 429 or response.status_code >= 500:
                response.read()
                hf_raise_for_status(response)
            return response

    set_client_factory(lambda: Impatient(follow_redirects=True))


def _api(token: str) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token or None)


@asks_hub
def search(
    query: str = "",
    *,
    sort: str = "downloads",
    limit: int = 20,
    task: str = "",
    author: str = "",
    tags: tuple[str, ...] = ("mlx",),
    token: str = "",
) -> list[HubModel]:
    """Repositories in MLX format."""
    found = _api(token).list_models(
        filter=list(tags),
        search=query or None,
        sort=SORTS[sort],
        limit=limit,
        pipeline_tag=task or None,
        author=author or None,
        expand=PROPERTIES,
    )
    return [from_listing(info) for info in found]


@asks_hub
def look(repository: str, *, token: str = "") -> HubModel:
    """One repository with its files, exact sizes and what its config says."""
    api = _api(token)
    info = api.model_info(repository, files_metadata=True)
    siblings = info.siblings or []
    files = [HubFile(one.rfilename, one.size or 0, is_wanted(one.rfilename)) for one in siblings]
    model = from_listing(info)
    if info.gated and not token:
        return with_details(model, files, {}, {})
    config = _json(_text(api, repository, "config.json", files, model.commit))
    return with_details(model, files, config, _tensors(api, model, files))


@asks_hub
def card(repository: str, *, commit: str, files: list[HubFile], token: str = "") -> str:
    """The model's own page as Markdown, without the table at its head."""
    text = _text(_api(token), repository, "README.md", files, commit)
    if text.startswith("---"):
        text = text[3:].partition("\n---")[2]
    return text.strip()


def remove_from_cache(repository: Path, cache_folder: Path) -> int:
    """Every revision of a repository in the cache; returns the bytes that came back."""
    from huggingface_hub import scan_cache_dir

    cached = scan_cache_dir(cache_folder)
    here = repository.resolve()
    found = [repo for repo in cached.repos if repo.repo_path.resolve() == here]
    commits = [revision.commit_hash for repo in found for revision in repo.revisions]
    # Copies of a repository share its commits, and the library deletes by commit alone.
    plan = replace(cached, repos=frozenset(found)).delete_revisions(*commits)
    plan.execute()
    return int(plan.expected_freed_size)


def _text(api: Any, repository: str, name: str, files: list[HubFile], commit: str) -> str:
    """A small file of the repository. Kept in a cache of our own, where no model is looked for."""
    size = next((file.size_bytes for file in files if file.path == name), None)
    if size is None or size > LARGEST_TEXT_BYTES:
        return ""
    cache_folder = settings.HOME.scratch / "hub"
    path = api.hf_hub_download(repository, name, revision=commit or None, cache_dir=cache_folder)
    return Path(path).read_text(errors="replace")


def _json(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _tensors(api: Any, model: HubModel, files: list[HubFile]) -> Tensors:
    """The tensors as the headers of the weight files list them; empty where there are many."""
    from huggingface_hub.errors import SafetensorsParsingError

    shards = [file.path for file in files if file.path.endswith(".safetensors")]
    if len(shards) > MOST_HEADERS:
        return {}
    found: Tensors = {}
    for path in shards:
        try:
            header = api.parse_safetensors_file_metadata(
                model.repository, path, revision=model.commit or None, timeout=ANSWER_SECONDS
            )
        except SafetensorsParsingError:
            return {}
        found |= {
            name: Tensor(one.dtype, one.shape, tuple(one.data_offsets))
            for name, one in header.tensors.items()
        }
    return found
