"""A model's own page, as its authors wrote it: Markdown and HTML from outside, made safe."""

from functools import cache, lru_cache

import nh3
from markdown_it import MarkdownIt

TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "a", "code", "pre", "blockquote", "details"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "summary", "sub", "sup"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
LONGEST = 60_000
"""Characters. Longer cards are cut: they are read on the hub."""


@lru_cache(maxsize=64)
def render(text: str) -> str:
    """Safe HTML: no scripts, styles or images, and links to the web only."""
    return nh3.clean(
        _parser().render(text[:LONGEST]),
        tags=TAGS,
        clean_content_tags={"script", "style"},
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    )


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
