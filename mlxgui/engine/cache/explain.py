"""Why a prompt was reused so far and no further."""

from array import array

from msgspec import Struct

from mlxgui.engine.cache.entries import Entry
from mlxgui.engine.cache.reasons import Divergence, Reason
from mlxgui.engine.cache.segments import Layout
from mlxgui.engine.cache.trie import Walk

RUN = 12
"""So many equal tokens behind a difference: the text goes on as before."""
LOOK_AHEAD = 512
LONGEST_HEADER = 64
"""Tokens that clients change with each request, such as a date; tools and the like take more."""
SLACK_IN_PROMPT, SLACK_IN_REPLY = 16, 64
"""Tokens that may lie between the last kept state and the difference without being worth a word."""


class Lookup(Struct):
    """All that the explanation needs."""

    tokens: "array[int]"
    layout: Layout
    walk: Walk
    entries: list[Entry]
    used: int
    unread: Reason | None
    """Why a file with such a beginning was not used."""

    @property
    def reach(self) -> int:
        """At least one token must be left to run."""
        return min(self.walk.matched, len(self.tokens) - 1)


def explain(look: Lookup) -> tuple[Reason, Divergence | None]:
    reason = _lost(look) or _changed(look)
    walk = look.walk
    if reason is Reason.HIT or walk.other is None or not walk.matched:
        return reason, None
    return reason, Divergence(walk.matched, look.tokens[walk.matched], walk.other)


def _lost(look: Lookup) -> Reason | None:
    """Would something have served better that is no longer there?"""
    best = look.used
    for entry in look.entries:
        if entry.is_alive:  # perhaps one on disk that was not worth loading
            best = max(best, entry.serves(look.reach))
    for entry in look.entries:
        if entry.lost and entry.serves(look.reach) > best:
            return entry.lost
    return None if look.used else look.unread


def _changed(look: Lookup) -> Reason:
    """Where does the prompt leave what is known: in a reply, in the prompt, or not at all?"""
    gap = look.reach - look.used
    in_reply = look.walk.other is None or not _prompt_goes_on(look)
    if not in_reply and (changed := _changed_tokens(look)):
        system = next((end for end, kind in look.layout if kind == "system"), 0)
        is_header = look.walk.matched < system and changed <= LONGEST_HEADER
        return Reason.VOLATILE_HEADER if is_header else Reason.TEMPLATE_CHANGED
    far = gap > (SLACK_IN_REPLY if in_reply else SLACK_IN_PROMPT)
    if far and any(entry.is_alive and entry.floor > look.reach for entry in look.entries):
        return Reason.NOT_TRIMMABLE
    if look.used and in_reply and not far:
        return Reason.HIT
    return Reason.PARTIAL if look.used >= SLACK_IN_PROMPT else Reason.FIRST_USE


def _prompt_goes_on(look: Lookup) -> bool:
    """Does what is known hold more of a prompt behind the difference, not only a reply?"""
    matched = look.walk.matched
    return any(entry.length > matched and entry.kind != "assistant" for entry in look.entries)


def _changed_tokens(look: Lookup) -> int:
    """Behind how many tokens, or in place of how many, the known text is taken up again; 0 = it is
    not."""
    start = look.walk.matched + 1
    behind = [entry for entry in look.entries if entry.length > start + RUN]
    if not behind:
        return 0
    newest = max(behind, key=lambda entry: entry.stored_at)
    known = _runs(newest.node.tokens()[start : start + LOOK_AHEAD])
    for run, place in _runs(look.tokens[start : start + LOOK_AHEAD]).items():
        if run in known:
            return 1 + max(place, known[run])
    return 0


def _runs(tokens: "array[int]") -> dict[bytes, int]:
    """Each run of RUN tokens, and where it first stands; in their order."""
    data = tokens.tobytes()
    size = tokens.itemsize
    runs: dict[bytes, int] = {}
    for start in range(0, len(data) - RUN * size + 1, size):
        runs.setdefault(data[start : start + RUN * size], start // size)
    return runs
