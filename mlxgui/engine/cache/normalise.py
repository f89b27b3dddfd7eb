"""Words that clients put into a system prompt and change with every request.

They stand at its front, so that nothing behind them could be reused. Pure functions on text.
"""

import re

BILLING_HEADER = re.compile(
    r"\A\s*x-anthropic-billing-header:(?:(?:[ \t]*[\w.-]+=[^;\n]*;)+|[^\n]*)[ \t]*(?:\r?\n)*",
    re.IGNORECASE,
)
"""`x-anthropic-billing-header: cc_version=2.1.63.a43; cc_entrypoint=cli; cch=00f1d;` as Claude
Code sends it, in a block of its own: a dialect may join the next block without a line break."""

BILLING_NOTE = (
    "The client's billing header was left out of the system prompt: it changes with every"
    " request, so the prompt could not have been reused."
)


def normalise(system: str) -> tuple[str, list[str]]:
    """The system prompt without volatile headers, and a note for each that was left out."""
    text, count = BILLING_HEADER.subn("", system, count=1)
    return (text, [BILLING_NOTE]) if count else (system, [])
