"""A reply's Markdown as safe HTML, whole or block by block while it is still being written."""

from collections.abc import MutableMapping, Sequence
from functools import cache, lru_cache
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from mdit_py_plugins.tasklists import tasklists_plugin
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

HIGHLIGHT_LIMIT = 60_000
"""Characters. Longer code is shown plain: colours are not worth a second of the server's time."""

TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "a", "code", "pre", "blockquote"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "input", "label"),
    *("table", "thead", "tbody", "tr", "th", "td", "div", "span", "button"),
}
ATTRIBUTES = {
    "a": {"href", "title"},
    "code": {"class"},
    "span": {"class"},
    "div": {"class"},
    "ul": {"class"},
    "li": {"class"},
    "ol": {"start", "class"},
    "th": {"class"},
    "td": {"class"},
    "input": {"type", "checked", "disabled", "class"},
    "button": {"type", "class", "data-copy-code"},
}


@lru_cache(maxsize=128)
def render(text: str) -> str:
    """The whole text as HTML."""
    return _clean(_parser().render(_plain(text)))


class Blocks:
    """A text that grows. What is closed is rendered once; only the open end is rendered again.

    A block is closed when whole lines show that another top-level block has begun after it: from
    then on nothing that follows can change it. The last line may be half a line ("2" may become
    "2. next item"), so it never closes anything.
    """

    def __init__(self) -> None:
        self._offset = 0
        self._text = ""
        self._open = ""

    def feed(self, text: str) -> tuple[str, str]:
        """Take the whole text so far; return HTML newly closed (or "") and HTML of the open end."""
        self._text = _plain(text)
        closed = self._close()
        return closed, _clean(_parser().render(self._text[self._offset :]))

    def finish(self, text: str) -> str:
        """The open end in its last form."""
        self._text = _plain(text)
        return _clean(_parser().render(self._text[self._offset :]))

    def _close(self) -> str:
        lines = self._text[self._offset :].split("\n")[:-1]
        if len(lines) < 2:
            return ""
        starts = [
            token.map[0]
            for token in _parser().parse("\n".join(lines) + "\n")
            if token.level == 0 and token.map and token.nesting >= 0
        ]
        if len(starts) < 2:
            return ""
        size = sum(len(line) + 1 for line in lines[: starts[-1]])
        closed = self._text[self._offset : self._offset + size]
        self._offset += size
        return _clean(_parser().render(closed))


def _plain(text: str) -> str:
    return text.replace("\r", "")


def _clean(html: str) -> str:
    return nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener nofollow noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


@cache
def _parser() -> MarkdownIt:
    # References would let a later line change what stands above it; see Blocks.
    options = {"html": False, "linkify": False, "typographer": False}
    parser = MarkdownIt("commonmark", options, renderer_cls=Renderer)
    parser.enable(["table", "strikethrough"]).disable("reference")
    return parser.use(tasklists_plugin)


Options = MutableMapping[str, Any]


class Renderer(RendererHTML):
    def fence(self, tokens: Sequence[Token], i: int, options: Any, env: Options) -> str:
        return _code(tokens[i].content, tokens[i].info.strip().split(" ")[0])

    def code_block(self, tokens: Sequence[Token], i: int, options: Any, env: Options) -> str:
        return _code(tokens[i].content, "")

    def image(self, tokens: Sequence[Token], i: int, options: Any, env: Options) -> str:
        """A link: opening a chat must not fetch anything from anywhere."""
        source = escape(str(tokens[i].attrs.get("src", "")))
        label = escape(tokens[i].content) or "image"
        return f'<a href="{source}">{label}</a>'

    def table_open(self, tokens: Sequence[Token], i: int, options: Any, env: Options) -> str:
        return '<div class="table-wrap"><table>\n'

    def table_close(self, tokens: Sequence[Token], i: int, options: Any, env: Options) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], i: int, options: Any, env: Options) -> str:
        return _cell("th", tokens[i])

    def td_open(self, tokens: Sequence[Token], i: int, options: Any, env: Options) -> str:
        return _cell("td", tokens[i])


def _cell(tag: str, token: Token) -> str:
    """Alignment as a class: the page allows no inline style."""
    side = str(token.attrs.get("style", "")).removeprefix("text-align:")
    return f'<{tag} class="{side}">' if side in ("left", "center", "right") else f"<{tag}>"


def _code(code: str, language: str) -> str:
    lexer = _lexer(language) if language and len(code) <= HIGHLIGHT_LIMIT else None
    inner = highlight(code, lexer, _FORMATTER) if lexer else escape(code)
    return (
        f'<div class="code"><div class="code-head"><span>{escape(language) or "text"}</span>'
        '<button type="button" class="code-copy" data-copy-code>Copy</button></div>'
        f"<pre><code>{inner}</code></pre></div>\n"
    )


_FORMATTER = HtmlFormatter(nowrap=True)


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return None
