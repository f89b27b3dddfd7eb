"""/connect/ and /connect/api/: what is shown is filled in, and in the format that it names."""

import json
import re
import tomllib
from html import unescape

import pytest
import yaml
from django.test import Client

from chat_app import connecting
from mlxgui.openapi.document import document
from tests.factories import make_model

URL = "http://mac.example:8123"
ODD = 'my "own" model'
BLOCK = re.compile(r"<span>(\w+)</span><button.*?<pre><code>(.*?)</code>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")


def blocks(model: str = "starter") -> list[tuple[str, str, str]]:
    """(guide, language, text) of every block of code."""
    return [
        (guide.slug, language, unescape(TAG.sub("", code)))
        for guide in connecting.guides(URL, "secret", model)
        for language, code in BLOCK.findall(guide.html)
    ]


def test_every_program_of_the_list_has_a_guide() -> None:
    wanted = {
        "curl", "openai-for-python", "openai-for-node", "anthropic-for-python", "claude-code",
        "codex", "continue", "cursor", "open-webui", "langchain", "ollama-clients", "vs-code",
    }  # fmt: skip
    assert wanted <= {guide.slug for guide in connecting.guides(URL, "any", "starter")}


def test_guides_are_filled_with_address_key_and_model() -> None:
    for guide in connecting.guides(URL, "secret", "qwen-7b"):
        assert not re.search(r"%\w+%", guide.html), guide.name
        assert "mac.example:8123" in guide.html or ":8123" in guide.html, guide.name
        assert "qwen-7b" in guide.html or guide.slug == "open-webui", guide.name
        assert "secret" in guide.html or guide.slug == "ollama-clients", guide.name


@pytest.mark.parametrize("model", ["starter", ODD, "mlx-community/Qwen3-1.7B"])
def test_settings_can_be_read_by_the_programs_that_they_are_for(model: str) -> None:
    read = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
    seen = set()
    for slug, language, text in blocks(model):
        if language in read:
            found = read[language](text)
            assert model in json.dumps(found, ensure_ascii=False).replace('\\"', '"'), slug
        elif language == "python":
            compile(text, slug, "exec")
        seen.add(language)
    assert seen >= {"bash", "python", "javascript", "json", "yaml", "toml"}


def test_the_settings_name_routes_that_are_served() -> None:
    paths = document()["paths"]
    for slug, _, text in blocks():
        for found in re.findall(re.escape(URL) + r"(/[\w/]+)", text):
            assert found == "/v1" or found in paths, (slug, found)
    for example in connecting.examples("starter"):
        assert example.path in paths


@pytest.mark.django_db
def test_the_page_shows_the_model_that_was_chosen(client: Client) -> None:
    make_model("echo")
    make_model("slow")
    assert "export ANTHROPIC_MODEL" in TAG.sub("", client.get("/connect/").text)
    chosen = client.get("/connect/?model=slow").text
    assert "<option selected>slow</option>" in chosen
    assert "<option selected>echo</option>" in client.get("/connect/?model=nobody").text
    part = client.get("/connect/?model=slow", headers={"HX-Request": "true"}).text
    assert part.strip().startswith('<div id="filled"') and "<html" not in part


@pytest.mark.django_db
def test_without_a_model_the_page_says_where_to_get_one(client: Client) -> None:
    assert "Open the Library" in client.get("/connect/").text


@pytest.mark.django_db
def test_the_real_key_is_never_shown(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "asks for no key" in client.get("/connect/").text
    monkeypatch.setenv("MLX_GUI_API_KEY", "sesame-street")
    assert client.get("/connect/").status_code == 302
    client.post("/key/", {"key": "sesame-street"})
    page = client.get("/connect/").text
    assert "YOUR_KEY" in page and "sesame" not in page
    assert "data-try-session" in page


@pytest.mark.parametrize(
    ("words", "there", "gone"),
    [
        ("", "/v1/rerank", None),
        ("rerank", "/v1/rerank", "/api/tags"),
        ("top_p", "/v1/chat/completions", "/v1/rerank"),
        ("no-such-thing", "Nothing found", "/v1/rerank"),
    ],
)
@pytest.mark.django_db
def test_the_reference_is_searched(
    client: Client, words: str, there: str, gone: str | None
) -> None:
    page = client.get("/connect/api/", {"q": words}).text
    assert there in page
    assert gone is None or gone not in page
