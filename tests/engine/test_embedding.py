"""Vectors: what they mean, how texts are batched, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxgui.engine.backends.embedding import max_tokens
from mlxgui.engine.errors import BadRequest, ContextOverflow, DamagedWeights, LoadFailed
from mlxgui.engine.tasks import Embedded, EmbedRequest, RerankRequest
from mlxgui.engine.types import Done, Started, Warned
from tests import tiny_senses
from tests.engine.backend import run
from tests.engine.tasks import load, of, one, vectors

pytestmark = pytest.mark.model

CAT, KITTEN, STOCKS = "a cat sits on the mat", "a kitten rests on a rug", "stock markets fell"


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load("embedding", tiny_senses.make_embedder(tmp_path_factory.mktemp("m") / "lexicon"))


def test_sentences_that_mean_the_same_are_nearer_than_others(embedder: Any) -> None:
    cat, kitten, stocks = vectors(one(embedder, EmbedRequest(inputs=[CAT, KITTEN, STOCKS])))
    assert cat @ kitten > 0.8
    assert max(cat @ stocks, kitten @ stocks) < 0.2
    assert np.allclose([np.linalg.norm(v) for v in (cat, kitten, stocks)], 1, atol=1e-5)


def test_several_requests_go_through_the_model_together(embedder: Any) -> None:
    requests = [EmbedRequest(inputs=[text]) for text in (CAT, KITTEN, STOCKS)]
    for id, request in enumerate(requests, 1):
        embedder.add(id, embedder.prepare(request))
    assert {type(output) for _, output in embedder.step()} == {Started}
    kinds = [(id, type(output)) for id, output in embedder.step()]
    assert [id for id, kind in kinds if kind is Embedded] == [1, 2, 3]
    assert [id for id, kind in kinds if kind is Done] == [1, 2, 3]
    assert not embedder.is_busy


def test_padding_and_company_do_not_change_a_vector(embedder: Any) -> None:
    alone = vectors(one(embedder, EmbedRequest(inputs=[CAT])))[0]
    long = " ".join([STOCKS] * 20)
    together = vectors(one(embedder, EmbedRequest(inputs=[long, "rain", CAT, "a"])))
    assert np.allclose(alone, together[2], atol=1e-5)
    many = [CAT if n % 2 else long for n in range(150)]
    found = vectors(one(embedder, EmbedRequest(inputs=list(many))))
    assert len(found) == 150 and np.allclose(found[149], alone, atol=1e-5)


def test_fewer_dimensions_are_the_leading_ones_of_unit_length(embedder: Any) -> None:
    whole = vectors(one(embedder, EmbedRequest(inputs=[CAT])))[0]
    short = vectors(one(embedder, EmbedRequest(inputs=[CAT], dimensions=8)))[0]
    assert np.allclose(short, whole[:8] / np.linalg.norm(whole[:8]), atol=1e-5)
    with pytest.raises(BadRequest, match="at most 64") as caught:
        embedder.prepare(EmbedRequest(inputs=[CAT], dimensions=65))
    assert caught.value.param == "dimensions"


def test_tokens_are_as_good_as_their_text(embedder: Any) -> None:
    tokens = embedder.tokenizer(CAT)["input_ids"]
    both = vectors(one(embedder, EmbedRequest(inputs=[CAT, tokens])))
    assert np.allclose(both[0], both[1], atol=1e-6)
    assert one(embedder, EmbedRequest(inputs=[tokens])).done.usage.prompt_tokens == len(tokens)


@pytest.mark.parametrize("tokens", [[10**9], [-1], [5, 100_000]])
def test_tokens_of_another_model_are_refused(embedder: Any, tokens: list[int]) -> None:
    with pytest.raises(BadRequest, match="does not know") as caught:
        embedder.prepare(EmbedRequest(inputs=["fine", tokens]))
    assert caught.value.param == "input[1]"


def test_a_text_that_is_too_long_is_named_and_cut_only_when_asked(embedder: Any) -> None:
    long = "cat " * 300
    with pytest.raises(ContextOverflow, match=r"input\[1\] has 302 tokens.*reads 128"):
        embedder.prepare(EmbedRequest(inputs=[CAT, long]))
    cut = one(embedder, EmbedRequest(inputs=[CAT, long], truncate=True))
    assert [event.message for event in of(cut, Warned)] == ["input[1] was cut to 128 tokens"]
    assert len(vectors(cut)) == 2
    ids = one(embedder, EmbedRequest(inputs=[[7] * 500], truncate=True))
    assert ids.done.usage.prompt_tokens == 128


def test_another_kind_of_request_is_refused_in_words(embedder: Any) -> None:
    with pytest.raises(BadRequest, match="is an embedding model; it answers at /v1/embeddings"):
        embedder.prepare(RerankRequest(query="a", documents=["b"]))


def test_a_higher_priority_goes_first(embedder: Any) -> None:
    long = ["cat " * 100] * 40
    for id, request in enumerate(
        (EmbedRequest(inputs=list(long)), EmbedRequest(inputs=[CAT], priority=10)), 1
    ):
        embedder.add(id, embedder.prepare(request))
    embedder.step()
    assert {id for id, _ in embedder.step()} == {2}
    embedder.cancel(1)
    assert not embedder.is_busy


def test_one_request_that_the_model_fails_on_harms_no_other(embedder: Any) -> None:
    """A device error, as it would come from the library: out of the network itself."""
    sound = embedder.model

    class Failing:
        def __call__(self, ids: Any, attention_mask: Any) -> Any:
            if 3 in ids.tolist()[0] or any(3 in row for row in ids.tolist()):
                raise RuntimeError("the device failed")
            return sound(ids, attention_mask=attention_mask)

    embedder.model = Failing()
    try:
        good, bad, also = run(
            embedder,
            [EmbedRequest(inputs=[[7, 8]]), EmbedRequest(inputs=[[3, 8]]),
             EmbedRequest(inputs=[[8, 7]])],
        )  # fmt: skip
    finally:
        embedder.model = sound
    assert bad.error is not None and "the device failed" in bad.error.message
    assert len(vectors(good)) == len(vectors(also)) == 1


def test_statistics_and_unknown_questions(embedder: Any) -> None:
    assert embedder.call("stats", {})["in_flight"] == 0
    with pytest.raises(BadRequest, match="has no prompt cache"):
        embedder.call("prompt cache", {})


def test_the_context_is_the_least_that_the_files_say(tmp_path: Path) -> None:
    class Tokenizer:
        model_max_length = 10**30

    def written(**config: Any) -> int:
        tiny_senses.write_json(tmp_path / "config.json", config)
        return max_tokens(tmp_path, Tokenizer(), 0)

    assert written() == 512
    assert written(max_position_embeddings=514, model_type="xlm-roberta") == 512
    assert written(max_position_embeddings=300, model_type="bert") == 300
    tiny_senses.write_json(tmp_path / "sentence_bert_config.json", {"max_seq_length": 256})
    assert written(max_position_embeddings=514) == 256
    assert max_tokens(tmp_path, Tokenizer(), 100) == 100


def test_damaged_weights_do_not_load(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    folder = tiny_senses.make_embedder(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][:] = np.nan
    tiny_senses.write_weights(folder / "model.safetensors", weights)
    with pytest.raises(DamagedWeights, match="“broken” computes no numbers"):
        load("embedding", folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(LoadFailed, match="could not be loaded"):
        load("embedding", folder)


def test_numbers_that_fail_only_for_some_texts_name_the_weights_too(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    folder = tiny_senses.make_embedder(tmp_path / "holed")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][9] = np.nan
    tiny_senses.write_weights(folder / "model.safetensors", weights)
    backend = load("embedding", folder)
    with pytest.raises(DamagedWeights, match="“holed” computes no numbers"):
        vectors(one(backend, EmbedRequest(inputs=[[9]])))
    assert vectors(one(backend, EmbedRequest(inputs=[[8]])))
