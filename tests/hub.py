"""A small real hub on this machine. The real huggingface_hub client talks to it by HF_ENDPOINT.

Large files (LFS) come from a second host, as on the real hub: `resolve` answers with a redirect.
Knobs make trouble; counters say what was asked and how many bytes left.
"""

import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LFS_FROM_BYTES = 10_000
CHUNK = 64 << 10


@dataclass
class Repository:
    files: dict[str, bytes]
    commit: str = COMMIT
    tags: tuple[str, ...] = ("mlx", "safetensors")
    pipeline_tag: str = "text-generation"
    downloads: int = 100
    likes: int = 5
    trending: int = 1
    gated: bool = False
    created: str = "2024-12-01T10:00:00.000Z"
    modified: str = "2025-01-01T12:00:00.000Z"
    card: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)


@dataclass
class Knobs:
    token: str = ""
    """The one that opens gated repositories."""
    status: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    """Part of an address → status and headers instead of an answer."""
    cut: dict[str, list[int]] = field(default_factory=dict)
    """File → after how many bytes each of the next answers breaks off."""
    wrong: Counter[str] = field(default_factory=Counter)
    """File → how many of the next answers have the right length and wrong bytes."""
    hold: dict[str, int] = field(default_factory=dict)
    """File → after how many bytes of an answer nothing comes until `Hub.go`."""


class Hub:
    """A context manager. `url` is its endpoint; `port` 0 takes any that is free."""

    def __init__(self, port: int = 0) -> None:
        self.repositories: dict[str, Repository] = {}
        self.knobs = Knobs()
        self.served: Counter[str] = Counter()
        self.asked: list[str] = []
        self.held = threading.Event()
        self.go = threading.Event()
        self.is_gone = False
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", port), type("Bound", (Handler,), {"hub": self})
        )
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.other_url = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def add(self, name: str, files: dict[str, bytes], **facts: Any) -> Repository:
        self.repositories[name] = Repository(files, **facts)
        return self.repositories[name]

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def __enter__(self) -> "Hub":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_gone = True
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def etag(data: bytes) -> str:
    if len(data) >= LFS_FROM_BYTES:
        return sha256(data)
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def tree(repository: Repository) -> list[dict[str, Any]]:
    folders = {path.rsplit("/", 1)[0] for path in repository.files if "/" in path}
    found: list[dict[str, Any]] = [
        {"type": "directory", "path": one, "oid": "0" * 40, "size": 0} for one in sorted(folders)
    ]
    for path, data in repository.files.items():
        entry = {"type": "file", "path": path, "size": len(data), "oid": etag(data)[:40]}
        if len(data) >= LFS_FROM_BYTES:
            entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
        found.append(entry)
    return found


def describe(name: str, repository: Repository, question: dict[str, list[str]]) -> dict[str, Any]:
    with_sizes = "blobs" in question
    siblings = [
        {"rfilename": path, **({"size": len(data)} if with_sizes else {})}
        for path, data in repository.files.items()
    ]
    config = json.loads(repository.files.get("config.json", b"{}"))
    parameters = repository.parameters
    return {
        "_id": name, "id": name, "modelId": name, "author": name.split("/")[0],
        "sha": repository.commit, "tags": list(repository.tags), "private": False,
        "gated": "manual" if repository.gated else False, "downloads": repository.downloads,
        "likes": repository.likes, "trendingScore": repository.trending, "siblings": siblings,
        "createdAt": repository.created, "lastModified": repository.modified,
        "pipeline_tag": repository.pipeline_tag, "library_name": "mlx",
        "cardData": repository.card,
        "config": {key: config[key] for key in ("model_type", "architectures") if key in config},
        "usedStorage": sum(map(len, repository.files.values())),
        **({"safetensors": {"parameters": parameters, "total": sum(parameters.values())}}
           if parameters else {}),
    }  # fmt: skip


def matches(name: str, repository: Repository, question: dict[str, list[str]]) -> bool:
    wanted = set(question.get("filter", []))
    search = question.get("search", [""])[0].lower()
    author = question.get("author", [""])[0]
    task = question.get("pipeline_tag", [""])[0]
    return (
        wanted <= {*repository.tags, repository.pipeline_tag}
        and search in name.lower()
        and author in ("", name.split("/")[0])
        and task in ("", repository.pipeline_tag)
    )


SORTS = {
    "downloads": lambda one: one[1].downloads,
    "likes": lambda one: one[1].likes,
    "trendingScore": lambda one: one[1].trending,
    "createdAt": lambda one: one[1].created,
    "lastModified": lambda one: one[1].modified,
}


class Handler(BaseHTTPRequestHandler):
    hub: ClassVar[Hub]
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.hub.is_gone:  # the connection was open and idle
            self.close_connection = True
            return
        self.hub.asked.append(f"{self.command} {self.path}")
        for part, (status, headers) in list(self.hub.knobs.status.items()):
            if part in self.path:
                return self.refuse(status, headers)
        address = urlsplit(self.path)
        path, question = unquote(address.path), parse_qs(address.query)
        if path == "/api/models":
            return self.list_models(question)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
            return self.model(*found.groups(), question)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(*found.groups())
        if found := re.fullmatch(r"/large/([^/]+/[^/]+)/(.+)", path):
            return self.send_file(found[2], self.hub.repositories[found[1]].files[found[2]])
        self.refuse(404, {})

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        self.answer(b'{"error": "refused"}', status, headers)

    def answer(self, body: bytes, status: int = 200, headers: Any = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: Any) -> None:
        self.answer(json.dumps(value).encode(), headers={"Content-Type": "application/json"})

    def list_models(self, question: dict[str, list[str]]) -> None:
        found = [one for one in self.hub.repositories.items() if matches(*one, question)]
        sort = question.get("sort", ["trendingScore"])[0]
        found.sort(key=SORTS[sort], reverse=True)
        limit = int(question.get("limit", ["1000"])[0])
        self.send_json([describe(*one, question) for one in found[:limit]])

    def is_refused(self, name: str) -> bool:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.refuse(404, {"X-Error-Code": "RepoNotFound"})
            return True
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository.gated and (not token or token != self.hub.knobs.token):
            status = 403 if token else 401
            self.refuse(status, {"X-Error-Code": "GatedRepo"})
            return True
        return False

    def model(
        self, name: str, what: str | None, revision: str, question: dict[str, list[str]]
    ) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self.refuse(404, {"X-Error-Code": "RepoNotFound"})
        if revision not in (None, "main", repository.commit):
            return self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        if what == "tree":
            return self.send_json(tree(repository))
        self.send_json(describe(name, repository, question))

    def resolve(self, name: str, revision: str, path: str) -> None:
        if self.is_refused(name):
            return
        repository = self.hub.repositories[name]
        data = repository.files.get(path)
        if revision not in ("main", repository.commit) or data is None:
            code = "EntryNotFound" if data is None else "RevisionNotFound"
            return self.refuse(404, {"X-Error-Code": code, "X-Repo-Commit": repository.commit})
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{etag(data)}"'}
        if len(data) < LFS_FROM_BYTES:
            return self.send_file(path, data, headers)
        headers["X-Linked-Etag"] = f'"{sha256(data)}"'
        headers["X-Linked-Size"] = str(len(data))
        headers["Location"] = f"{self.hub.other_url}/large/{name}/{path}"
        self.answer(b"", 302, headers)

    def send_file(self, path: str, data: bytes, headers: Any = None) -> None:
        begin, end, status = 0, len(data), 200
        headers = {**(headers or {}), "Accept-Ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            begin, end = int(asked[1]), min(int(asked[2] or len(data) - 1) + 1, len(data))
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        body = data[begin:end]
        if self.hub.knobs.wrong[path] > 0:
            self.hub.knobs.wrong[path] -= 1
            body = bytes(len(body))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(path, body)

    def send_body(self, path: str, body: bytes) -> None:
        cuts = self.hub.knobs.cut.get(path)
        cut = cuts.pop(0) if cuts else len(body)
        hold = self.hub.knobs.hold.get(path, len(body) + 1)
        try:
            for start in range(0, min(cut, len(body)), CHUNK):
                piece = body[start : min(start + CHUNK, cut)]
                if start + len(piece) > hold and not self.hub.go.is_set():
                    self.hub.held.set()
                    self.hub.go.wait()
                self.wfile.write(piece)
                self.hub.served[path] += len(piece)
        except OSError:
            self.close_connection = True
        if cut < len(body):
            self.close_connection = True
