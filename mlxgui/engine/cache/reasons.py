"""Why a prompt was reused as far as it was, in one word and in one sentence."""

from enum import StrEnum

from msgspec import Struct


class Reason(StrEnum):
    HIT = "hit"
    PARTIAL = "partial"
    FIRST_USE = "first_use"
    EVICTED = "evicted"
    TOO_LARGE = "too_large"
    NOT_TRIMMABLE = "not_trimmable"
    VOLATILE_HEADER = "volatile_header"
    TEMPLATE_CHANGED = "template_changed"
    SETTINGS_CHANGED = "settings_changed"
    DAMAGED = "damaged"


SENTENCES = {
    Reason.HIT: "Everything that was read before was reused.",
    Reason.PARTIAL: "The beginning was reused; from there on this prompt was never read before.",
    Reason.FIRST_USE: "This prompt was never read before.",
    Reason.EVICTED: "It was read before, but has been dropped from the cache to make room.",
    Reason.TOO_LARGE: "It was read before, but is larger than the whole cache.",
    Reason.NOT_TRIMMABLE: (
        "More of it was read before, but this model's state cannot be cut back to where this"
        " prompt leaves it; the last kept point before was used."
    ),
    Reason.VOLATILE_HEADER: (
        "The system prompt is the one read before except for a few words near its beginning"
        " that change from request to request; all behind them had to be read again."
    ),
    Reason.TEMPLATE_CHANGED: (
        "An earlier part of the conversation reads differently now: it was edited, or the chat"
        " template writes it otherwise than before."
    ),
    Reason.SETTINGS_CHANGED: (
        "It was kept on disk by another version of the model, its adapter, its template, its"
        " settings or the libraries, and cannot be used with this one."
    ),
    Reason.DAMAGED: "It was kept on disk, but the file is damaged and was put aside.",
}


class Divergence(Struct, frozen=True):
    """The first token that differs from the nearest known prompt."""

    index: int
    token: int
    known_token: int
