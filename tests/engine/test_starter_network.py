"""The trainer's own arithmetic against mlx: same loss, same gradients, same conversation tokens."""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models.qwen3 import Model, ModelArgs
from mlx_lm.utils import load_tokenizer
from tokenizers import Tokenizer

from mlxgui.engine.jobs.starter.network import EPSILON, AdamW, Network, Shape
from mlxgui.engine.jobs.starter.vocabulary import tokens_of

pytestmark = pytest.mark.model

FOLDER = Path(__file__).resolve().parents[2] / "models_app" / "starter"
SHAPE = Shape(vocabulary=60, hidden=16, layers=2, inner=24, heads=4, kv_heads=2, head_dim=8)


def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    rows = np.sort(random.choice(30, 14, replace=False))
    return random.integers(0, 60, (3, 10)), rows, random.integers(0, 60, 14)


def mlx_model(network: Network) -> Model:
    model = Model(
        ModelArgs(
            model_type="qwen3",
            hidden_size=SHAPE.hidden,
            num_hidden_layers=SHAPE.layers,
            intermediate_size=SHAPE.inner,
            num_attention_heads=SHAPE.heads,
            rms_norm_eps=EPSILON,
            vocab_size=SHAPE.vocabulary,
            num_key_value_heads=SHAPE.kv_heads,
            max_position_embeddings=64,
            head_dim=SHAPE.head_dim,
            tie_word_embeddings=True,
            rope_theta=SHAPE.rope_base,
        )
    )
    model.load_weights([(name, mx.array(w.data)) for name, w in network.weights.items()])
    return model


def test_loss_and_gradients_are_those_of_mlx() -> None:
    network = Network(SHAPE, seed=0)
    network.flat *= 3.0  # away from the flat start, where gradients nearly vanish
    tokens, rows, targets = batch()

    def mlx_loss(model: Model) -> mx.array:
        logits = model(mx.array(tokens)).reshape(-1, SHAPE.vocabulary)[mx.array(rows)]
        return nn.losses.cross_entropy(logits, mx.array(targets)).mean()

    model = mlx_model(network)
    expected, gradients = nn.value_and_grad(model, mlx_loss)(model)
    assert np.isclose(network.loss(tokens, rows, targets), expected.item(), rtol=1e-4)
    for name, gradient in tree_flatten(gradients):
        ours, theirs = network.weights[name].grad, np.array(gradient)
        assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max(), name


def test_training_steps_make_the_loss_smaller_and_repeat_exactly() -> None:
    def losses() -> list[float]:
        network = Network(SHAPE, seed=0, dropout_rate=0.1)
        optimizer = AdamW(network)
        found = []
        for _ in range(30):
            found.append(network.loss(*batch()))
            optimizer.step(1e-2)
        return found

    first = losses()
    assert first[-1] < 0.5 * first[0]
    assert losses() == first


def test_training_writes_conversations_as_the_template_does() -> None:
    turns = [("system", "Be kind."), ("user", "Hello"), ("assistant", "Hello!"), ("user", "Bye")]
    messages = [{"role": role, "content": content} for role, content in turns]
    written = load_tokenizer(FOLDER).apply_chat_template(messages, return_dict=False)
    tokens, own = tokens_of(Tokenizer.from_file(str(FOLDER / "tokenizer.json")), turns)
    assert list(written) == tokens
    assert sum(own) > 0 and not own[0]
