"""Files of a repository on their way to this disk: what there is, what is here, fetch, verify.

A file grows as `<etag>.part` and becomes `<etag>` when its hash is right. huggingface_hub itself
starts every file again from nothing in a new process, so the places are ours; the transfer (ranges,
redirects, tokens, proxies) is the library's.
"""

import hashlib
import io
import re
import threading
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec import Struct

from mlxgui.engine.jobs import JobFailed, Stopped
from mlxgui.engine.jobs.hub_errors import explain

ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
NOT_WANTED = (
    ".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".gguf", ".ggml",
    ".onnx", ".onnx_data", ".npz", ".pkl", ".pickle", ".tflite", ".exe", ".dylib",
)  # fmt: skip
"""Program code, which no model may bring, and weights in other formats."""
CHUNK_BYTES = 256 << 10
LARGEST_FILE_BYTES = 50 * 10**9
LONGEST_WAIT_SECONDS = 60.0


class RemoteFile(Struct, frozen=True):
    path: str
    size: int
    etag: str

    def matches(self, file: Path) -> bool:
        """Whether the content is what the hub has: SHA-256 for large files, git's hash else."""
        if len(self.etag) == 64:
            seen = hashlib.sha256()
        else:
            seen = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        with file.open("rb") as stream:
            while data := stream.read(1 << 20):
                seen.update(data)
        return seen.hexdigest() == self.etag


def is_wanted(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not path.endswith(NOT_WANTED) and not any(part.startswith(".") for part in parts)


def list_files(api: Any, repository: str, commit: str) -> list[RemoteFile]:
    """What is to be fetched, in a stable order. Raises JobFailed for what is no model of ours."""
    entries = api.list_repo_tree(repository, recursive=True, revision=commit)
    found = [
        RemoteFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
        for entry in entries
        if hasattr(entry, "blob_id") and is_wanted(entry.path)
    ]
    for file in found:
        if not ETAG.fullmatch(file.etag) or not _is_inside(file.path):
            raise JobFailed(f"The hub lists a file that cannot be right: {file.path[:100]}.")
        if file.size > LARGEST_FILE_BYTES:
            raise JobFailed(
                f"{file.path} is larger than the 50 GB that the hub hands out in one piece. "
                "Choose a version of this model whose weights are in several files."
            )
    if not any(file.path.endswith(".safetensors") for file in found):
        raise JobFailed(
            f"There are no safetensors weights in “{repository}”. Choose a version of this model "
            "in MLX format, from mlx-community for example."
        )
    return sorted(found, key=lambda file: (-file.size, file.path))


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\0" not in path


class Growing(io.FileIO):
    """A file that grows at its end, and stops when asked to."""

    def __init__(self, path: Path, stop: threading.Event) -> None:
        path.touch()
        super().__init__(path, "r+")
        self.seek(0, io.SEEK_END)
        self._stop = stop

    def write(self, data: Any) -> int:
        if self._stop.is_set():
            raise Stopped
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)


class Transfer:
    """All files of one repository at one commit, into one folder. Safe for several threads."""

    def __init__(
        self, url: str, headers: dict[str, str], place: Path, stop: threading.Event, tries: int
    ) -> None:
        self._url = url
        self._headers = {**headers, "Accept-Encoding": "identity"}
        self._place = place
        self._stop = stop
        self._tries = tries
        self.note = ""
        """Why nothing comes at the moment."""

    def done_bytes(self, file: RemoteFile) -> int:
        for name in (file.etag, f"{file.etag}.part"):
            try:
                return (self._place / name).stat().st_size
            except FileNotFoundError:
                continue
        return 0

    def fetch(self, file: RemoteFile) -> Path:
        """Returns the whole, verified file. What passes is tried again, from where it broke off."""
        whole, part = self._place / file.etag, self._place / f"{file.etag}.part"
        failures, damaged = 0, 0
        while not whole.exists():
            before = self.done_bytes(file)
            try:
                self._get(file, part)
            except Stopped:
                raise
            except Exception as error:
                failures = 1 if self.done_bytes(file) > before else failures + 1
                self._wait_or_give_up(error, file, failures)
                continue
            self.note = ""
            if file.matches(part):
                part.rename(whole)
                break
            part.unlink()
            damaged += 1
            if damaged > 1:
                raise JobFailed(
                    f"{file.path} arrived damaged twice: its hash is not what the hub says. "
                    "Try again later, or on another network."
                )
        return whole

    def _get(self, file: RemoteFile, part: Path) -> None:
        from huggingface_hub.file_download import http_get

        if self.done_bytes(file) > file.size:
            part.unlink()
        with Growing(part, self._stop) as stream:
            http_get(
                self._url.format(path=_quoted(file.path)),
                stream,
                resume_size=stream.tell(),
                headers=self._headers,
                expected_size=file.size,
                displayed_filename=file.path,
            )

    def _wait_or_give_up(self, error: Exception, file: RemoteFile, failures: int) -> None:
        trouble = explain(error)
        if not trouble.passing:
            raise error
        if failures >= self._tries:
            raise JobFailed(
                f"{trouble.message} {file.path} was tried {failures} times in a row. What is here "
                "is kept: try again, and it goes on from there."
            ) from error
        self.note = trouble.message
        wait = trouble.retry_after_seconds or min(2.0 ** (failures - 1), LONGEST_WAIT_SECONDS)
        if self._stop.wait(wait):
            raise Stopped


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path).replace("{", "%7B").replace("}", "%7D")
