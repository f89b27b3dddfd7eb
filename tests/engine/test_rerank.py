"""Reranking: a cross-encoder, and a Qwen3 that says “yes” or “no”."""

from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, ContextOverflow, DamagedWeights, LoadFailed
from mlxgui.engine.tasks import Ranked, RerankRequest
from mlxgui.engine.types import Warned
from tests import tiny, tiny_senses
from tests.engine.tasks import load, of, one

pytestmark = pytest.mark.model

DOCUMENTS = ["a cat on a mat", "stock markets fell", "rain and wind in the city today"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load("rerank", tiny_senses.make_reranker(tmp_path_factory.mktemp("m") / "cross"))


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny.make_text_model(tmp_path_factory.mktemp("m") / "qwen3-reranker")
    tiny.write_tokenizer(folder, ["yes", "no"])  # so small a vocabulary has neither of itself
    return load("rerank", folder)


def scores(result: Any) -> list[float]:
    return [one.score for one in sorted(of(result, Ranked), key=lambda event: event.index)]


def test_each_document_has_a_score_of_its_own(encoder: Any) -> None:
    found = one(encoder, RerankRequest(query="cat", documents=DOCUMENTS))
    assert len(set(scores(found))) == 3 and all(0 < score < 1 for score in scores(found))
    assert found.done.usage.prompt_tokens > 10


def test_company_does_not_change_a_score(encoder: Any, speaker: Any) -> None:
    for backend in (encoder, speaker):
        together = scores(one(backend, RerankRequest(query="cat", documents=DOCUMENTS)))
        alone = [
            scores(one(backend, RerankRequest(query="cat", documents=[document])))[0]
            for document in DOCUMENTS
        ]
        assert together == pytest.approx(alone, abs=1e-4)


def test_a_long_document_is_cut_and_said_so(encoder: Any) -> None:
    found = one(encoder, RerankRequest(query="cat", documents=["cat " * 300, "rain"]))
    assert len(scores(found)) == 2
    assert [event.message for event in of(found, Warned)] == [
        "1 documents were cut to fit into 128 tokens"
    ]


def test_a_query_that_fills_the_context_is_refused(encoder: Any) -> None:
    with pytest.raises(ContextOverflow, match="Shorten the query") as caught:
        encoder.prepare(RerankRequest(query="cat " * 200, documents=["rain"]))
    assert caught.value.param == "query"


def test_only_a_model_that_can_be_told_takes_an_instruction(encoder: Any, speaker: Any) -> None:
    told = RerankRequest(query="cat", documents=DOCUMENTS, instruction="Find animals")
    with pytest.raises(BadRequest) as caught:
        encoder.prepare(told)
    assert caught.value.param == "instruction"
    plain = RerankRequest(query="cat", documents=DOCUMENTS)
    assert scores(one(speaker, told)) != scores(one(speaker, plain))


def test_a_model_without_yes_and_no_is_no_reranker(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="no one token for “yes”"):
        load("rerank", tiny.make_text_model(tmp_path / "plain"))


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    folder = tiny_senses.make_reranker(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    for array in weights.values():
        array[:] = np.nan
    tiny_senses.write_weights(folder / "model.safetensors", weights)
    with pytest.raises(DamagedWeights, match="“broken” computes no numbers"):
        load("rerank", folder)
