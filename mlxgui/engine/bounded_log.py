"""A log file that cannot fill the disk."""

from pathlib import Path

LOG_BYTES = 1 << 20


class BoundedLog:
    """A child's stderr in a file of at most `LOG_BYTES`, and the one before it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def write(self, data: bytes) -> None:
        if self._file.tell() + len(data) > LOG_BYTES:
            self._file.close()
            self.path.replace(self.path.with_suffix(".old.log"))
            self._file = self.path.open("wb")
        self._file.write(data[-LOG_BYTES:])
        self._file.flush()

    def close(self) -> None:
        self._file.close()
