"""Dialects: what the world sends, turned into engine types at the door, and back.

A dialect is a module with the names of `Dialect`; adding one touches nothing else here. No
Django and no I/O in this package.
"""

from typing import Any, Protocol

from msgspec import Struct

from mlxgui.engine.types import Event, GenerationRequest
from mlxgui.wire.reply import Reply

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"
LINES = "application/x-ndjson"


class Parsed(Struct, kw_only=True):
    """One request body, understood."""

    model: str
    request: GenerationRequest
    others: list[GenerationRequest] = []
    """More prompts of the same call, answered beside the first."""
    stream: bool = False
    adapter: str = ""
    adapter_param: str = "adapters"
    """Which field named it."""
    draft: str = ""
    """Name of the model that drafts for this one."""
    given: frozenset[str] = frozenset()
    """Sampling values, and `max_tokens`, that the client chose itself."""
    warnings: list[str] = []
    options: Any = None
    """What only the dialect's own encoder needs."""


class Encoder(Protocol):
    """One stream's bytes."""

    def feed(self, event: Event) -> bytes:
        """The bytes for one event; empty where the dialect has nothing to say about it."""

    def fail(self, error: Exception) -> bytes:
        """The last bytes of a stream that broke."""


class Dialect(Protocol):
    content_type: str
    stream_type: str
    request_id_header: str
    """Where its clients look for an answer's own id."""
    defaults: dict[str, Any]
    """What the surface's document says for values that nobody gave."""

    def parse(self, body: bytes) -> Parsed:
        """Raises BadRequest that names the field."""

    def complete(self, parsed: Parsed, reply: Reply) -> bytes:
        """The whole answer as one JSON document."""

    def encoder(self, parsed: Parsed) -> Encoder: ...

    def error(self, error: Exception) -> tuple[int, bytes]:
        """HTTP status and body."""
