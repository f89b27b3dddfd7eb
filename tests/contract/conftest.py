from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live import LiveServer
from tests.tiny_senses import make_embedder
from tests.tiny_vision import make_gemma4, make_qwen2_vl

if TYPE_CHECKING:
    from openai import OpenAI


@pytest.fixture(scope="package")
def server(
    tmp_path_factory: pytest.TempPathFactory, text_model: Path, thinking_model: Path
) -> Iterator[LiveServer]:
    home = tmp_path_factory.mktemp("contract-home")
    with LiveServer(home, text_model, thinking_model) as live:
        live.send("PUT", "/v1/settings/max_concurrent_requests", {"value": 16})
        live.send("PUT", "/v1/settings/max_concurrent_models", {"value": 5})
        yield live


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory, text_model: Path) -> Iterator[LiveServer]:
    """Models that see, hear and embed beside one that chats; there is room for all of them."""
    folder = tmp_path_factory.mktemp("models")
    models = [
        text_model,
        make_qwen2_vl(folder / "tiny-vision"),
        make_gemma4(folder / "tiny-hearing"),
        make_embedder(folder / "lexicon"),
    ]
    with LiveServer(tmp_path_factory.mktemp("served-home"), *models) as live:
        live.send("PUT", "/v1/settings/max_concurrent_models", {"value": 5})
        yield live


@pytest.fixture(scope="package")
def client(server: LiveServer) -> Iterator["OpenAI"]:
    from openai import OpenAI  # a second, even for those who only look here for the documents

    with OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as made:
        yield made
