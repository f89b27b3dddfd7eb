"""A repository from the hub into the cache that every Hugging Face library shares.

Unfinished files lie in `models--author--name/unfinished/`, where no library and no scan looks. When
all are whole and verified they become blobs, then the snapshot's links, config.json last, then
`refs/main`: so a model is there as a whole or not at all.
"""

import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from mlxgui.engine.jobs import JobFailed, Stopped
from mlxgui.engine.jobs.folder import JobFolder
from mlxgui.engine.jobs.hub_errors import explain
from mlxgui.engine.jobs.transfer import CHUNK_BYTES, RemoteFile, Transfer, list_files

SPEED_SECONDS = 10.0
PATIENT_TRIES = 180
"""About three hours without a network: a night, say, is bridged by the machine's own sleep."""
UNFINISHED = "unfinished"
GIB = 1 << 30


def run(job: dict[str, Any], folder: JobFolder, stop: threading.Event) -> dict[str, Any]:
    try:
        return Download(job, folder, stop).run()
    except (Stopped, JobFailed):
        raise
    except Exception as error:
        trouble = explain(error, job["repository"])
        if trouble.code == "unknown":
            raise
        if trouble.code == "missing":
            folder.write_state()  # the pinned commit is gone: the next try asks for the newest
        raise JobFailed(trouble.message) from error


class Download:
    def __init__(self, job: dict[str, Any], folder: JobFolder, stop: threading.Event) -> None:
        self._repository = job["repository"]
        self._revision = job.get("revision", "main")
        self._reserve_bytes = int(job.get("reserve_bytes", GIB))
        self._workers = int(job.get("files_at_once", 4))
        self._tries = int(job.get("tries", PATIENT_TRIES))
        self._every_seconds = float(job.get("report_seconds", 1.0))
        self._folder = folder
        self._stop = stop
        self._ending = threading.Event()
        """Ends the threads: on a wish, and when one file has failed."""
        name = f"models--{self._repository.replace('/', '--')}"
        self._home = Path(job["cache"]) / name
        self._place = self._home / UNFINISHED
        self._seen: deque[tuple[float, int]] = deque()

    def run(self) -> dict[str, Any]:
        commit, files = self._plan()
        self._place.mkdir(parents=True, exist_ok=True)
        by_content = {file.etag: file for file in files}
        missing = [file for file in by_content.values() if not self._is_here(file)]
        transfer = self._transfer(commit)
        self._check_room(sum(file.size - transfer.done_bytes(file) for file in missing))
        self._fetch(transfer, files, missing)
        path = self._assemble(commit, files)
        return {"path": str(path), "commit": commit, "bytes": sum(file.size for file in files)}

    def _is_here(self, file: RemoteFile) -> bool:
        """Whether the cache has it already. A damaged one goes: it is why somebody asks again."""
        blob = self._home / "blobs" / file.etag
        if not blob.exists():
            return False
        if blob.stat().st_size == file.size and file.matches(blob):
            return True
        blob.unlink()
        return False

    def _plan(self) -> tuple[str, list[RemoteFile]]:
        """The commit and its files: looked up once, kept for every later run."""
        from huggingface_hub import HfApi, constants

        constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
        state = self._folder.state()
        if state.get("commit"):
            return state["commit"], [RemoteFile(*file) for file in state["files"]]
        api = HfApi()
        commit = self._patiently(lambda: api.model_info(self._repository, revision=self._revision))
        files = self._patiently(lambda: list_files(api, self._repository, commit.sha))
        listed = [[file.path, file.size, file.etag] for file in files]
        self._folder.write_state(commit=commit.sha, files=listed)
        return commit.sha, files

    def _patiently[T](self, ask: Callable[[], T]) -> T:
        """A question to the hub; what passes is waited out."""
        for number in range(1, self._tries + 1):
            try:
                return ask()
            except Exception as error:
                trouble = explain(error, self._repository)
                if not trouble.passing or number == self._tries:
                    raise
                self._folder.report(0.0, note=trouble.message)
                if self._stop.wait(trouble.retry_after_seconds or min(2.0**number, 60.0)):
                    raise Stopped from None
        raise AssertionError("unreachable")

    def _transfer(self, commit: str) -> Transfer:
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers

        endpoint = constants.ENDPOINT.replace("{", "{{").replace("}", "}}")
        url = f"{endpoint}/{self._repository}/resolve/{commit}/{{path}}"
        return Transfer(url, build_hf_headers(), self._place, self._ending, self._tries)

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self._place).free
        if free < needed + self._reserve_bytes:
            raise JobFailed(
                f"There is not enough room on the disk: {needed / GIB:.1f} GB are to come and "
                f"{self._reserve_bytes / GIB:.1f} GB are to stay free, but only "
                f"{free / GIB:.1f} GB are. Make room, then try again: what is here is kept."
            )

    # -- while it runs ----------------------------------------------------------------------------

    def _fetch(
        self, transfer: Transfer, files: list[RemoteFile], missing: list[RemoteFile]
    ) -> None:
        pool = ThreadPoolExecutor(self._workers)
        work: set[Future[Path]] = {pool.submit(transfer.fetch, file) for file in missing}
        try:
            while work:
                done, work = wait(work, self._every_seconds, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                self._report(transfer, files, set(missing))
                if self._stop.is_set():
                    raise Stopped
                self._check_room(sum(file.size - transfer.done_bytes(file) for file in missing))
        finally:
            self._ending.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _report(
        self, transfer: Transfer, files: list[RemoteFile], missing: set[RemoteFile]
    ) -> None:
        total = sum(file.size for file in files)
        sizes = {f: min(transfer.done_bytes(f), f.size) if f in missing else f.size for f in files}
        done = sum(sizes.values())
        speed = self._speed(done)
        under_way = [
            [file.path, size, file.size]
            for file, size in sizes.items()
            if file in missing and 0 < size < file.size
        ]
        self._folder.report(
            done / total if total else 0.0,
            done_bytes=done,
            total_bytes=total,
            speed_bytes=int(speed),
            seconds_left=int((total - done) / speed) if speed > 1 else None,
            files=under_way[:8],
            files_done=sum(size == file.size for file, size in sizes.items()),
            files_total=len(files),
            note="" if speed > 1 else transfer.note,
        )

    def _speed(self, done: int) -> float:
        """Bytes a second, over the last seconds; 0 where damaged bytes were thrown away."""
        now = time.monotonic()
        self._seen.append((now, done))
        while now - self._seen[0][0] > SPEED_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        return max(0.0, (done - before) / (now - since)) if now > since else 0.0

    # -- at the end -------------------------------------------------------------------------------

    def _assemble(self, commit: str, files: list[RemoteFile]) -> Path:
        blobs, snapshot = self._home / "blobs", self._home / "snapshots" / commit
        blobs.mkdir(exist_ok=True)
        for file in files:
            if (whole := self._place / file.etag).exists():
                whole.replace(blobs / file.etag)
        for file in sorted(files, key=lambda file: file.path == "config.json"):
            _link(snapshot / file.path, blobs / file.etag)
        ref = self._home / "refs" / self._revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        new = ref.with_name(f"{ref.name}.new")
        new.write_text(commit)
        new.replace(ref)
        shutil.rmtree(self._place, ignore_errors=True)
        return snapshot


def _link(link: Path, blob: Path) -> None:
    """Relative, so that the cache can be moved."""
    link.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(blob, link.parent)
    if link.is_symlink() and os.readlink(link) == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)
