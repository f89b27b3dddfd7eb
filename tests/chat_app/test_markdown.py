"""Markdown: what it makes of a reply, that it is safe, and that streaming changes nothing."""

import pytest

from chat_app.markdown import Blocks, render

DOCUMENTS = {
    "paragraphs": "One line\nand another.\n\nA second *paragraph* with **bold**.\n\n\nThird.\n",
    "headings": "# A\ntext\n## B ##\n\nSetext\n===\nmore\n---\nend",
    "bullets": "- a\n- b\n  - c\n\n    deep\n- d\n\nafter\n",
    "loose list": "1. one\n\n2. two\n\n   more of two\n\n10. ten\n\nend\n",
    "list then list": "- a\n- b\n\n* c\n* d\n\n1) e\n2) f\n",
    "lazy": "> quote\nlazy line\n\n- item\nlazy too\n\nend",
    "fence": "Before\n```python\ndef f():\n\n    return '```'\n```\nafter\n\n~~~\nx\n~~~\n",
    "open fence": "Text\n\n```js\nlet a = 1;\n\n# not a heading\n\n- not a list\n",
    "fence in list": "1. first\n\n   ```sh\n   make run\n\n   make test\n   ```\n\n2. second\n",
    "table": "Intro\n| a | b |\n|:-:|--:|\n| 1 | 2 |\n| 3 | 4 |\n\nafter\n\n| x |\n|---|\n| y |\n",
    "table at once": "| a | b |\n|---|---|\n| 1 | 2 |\nnot a row?\n",
    "indented code": "text\n\n    code\n\n    more\n\ntext\n    not code\n",
    "rules": "a\n\n***\n\nb\n\n- - -\nc\n___\n",
    "tasks": "- [ ] open\n- [x] done\n\nend\n",
    "references": "See [this][1] and [that].\n\n[1]: http://a.example\n[that]: http://b.example\n",
    "html": "<div>\n\n*x*\n\n</div>\n<script>alert(1)</script>\n\n<b>bold</b>\n",
    "returns": "one\r\n\r\n- two\r\n- three\r\n\r\nfour\r\n",
    "numbers": "Costs:\n\n1986\\. A year.\n\n1. one\n1. two\n\n3 apples\n",
    "quotes": "> a\n>\n> b\n\n> c\n\n- > d\n  > e\n\nf\n",
    "tabs": "-\ta\n\n\tb\n\n\tcode?\n\nend\n",
    "unicode": "Größe → 3 × 4\u2028same line\n\n- ünï\n- 漢字\n\n😀 end",
    "only spaces": "   \n\n  \n",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_streaming_one_character_at_a_time_ends_in_the_same_html(name: str) -> None:
    text = DOCUMENTS[name]
    blocks, closed = Blocks(), ""
    for end in range(len(text) + 1):
        new, opened = blocks.feed(text[:end])
        closed += new
        assert closed + opened == render(text[:end])
    assert closed + blocks.finish(text) == render(text)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_cut_anywhere_continues_to_the_same_html(name: str) -> None:
    text = DOCUMENTS[name]
    for cut in range(len(text) + 1):
        blocks = Blocks()
        first, _ = blocks.feed(text[:cut])
        rest, opened = blocks.feed(text)
        assert first + rest + opened == render(text)


def test_closed_blocks_are_not_rendered_again() -> None:
    blocks = Blocks()
    blocks.feed("# Title\n\nfirst\n\nsecond\n")
    closed, opened = blocks.feed("# Title\n\nfirst\n\nsecond\n\nthird")
    assert "Title" not in closed + opened
    assert "third" in opened


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("**b** *i* ~~s~~ `c`", "<strong>b</strong> <em>i</em> <s>s</s> <code>c</code>"),
        ("| a |\n|:-:|\n| 1 |", '<td class="center">1</td>'),
        ("```python\nx = 1\n```", '<span class="mi">1</span>'),
        ("```python\nx = 1\n```", "<span>python</span>"),
        ("```\nplain\n```", "<span>text</span>"),
        ("```nosuchlanguage\na < b\n```", "a &lt; b"),
        ("- [x] done", "checked"),
        ("![alt](https://example.com/a.png)", '<a href="https://example.com/a.png"'),
    ],
)
def test_it_renders(source: str, expected: str) -> None:
    assert expected in render(source)


@pytest.mark.parametrize(
    ("source", "forbidden"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("<img src=x onerror=alert(1)>", "<img"),
        ("![x](https://example.com/a.png)", "<img"),
        ("[x](javascript:alert(1))", "href"),
        ("[x](data:text/html,hi)", 'data:text/html,hi"'),
        ("```<img src=x>\ncode\n```", "<img"),
        ('[x](https://a.example "\\" onclick=alert(1)")', "<a onclick"),
        ("| a |\n|:-:|\n| 1 |", "style="),
    ],
)
def test_nothing_dangerous_passes(source: str, forbidden: str) -> None:
    assert forbidden not in render(source)


def test_links_open_elsewhere_and_give_nothing_away() -> None:
    html = render("[docs](https://example.com)")
    assert 'target="_blank"' in html
    assert 'rel="noopener nofollow noreferrer"' in html
