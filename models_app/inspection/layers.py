"""Are all layers there, and do their tensors have the shapes that config.json asks for?

Only for architectures whose layers are all alike, where mlx-lm itself would refuse what is refused
here: a sound model of another make is never turned away.
"""

import re
from collections.abc import Mapping
from typing import Any

from models_app.inspection.facts import BrokenFolder
from models_app.inspection.weights import Tensor

UNIFORM = frozenset(
    ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "granite", "olmo2",
     "smollm3", "phi3", "starcoder2", "stablelm", "cohere")
)  # fmt: skip
LAYER = re.compile(r"^(?:model\.)?layers\.(\d+)\.(.+)$")
PACKED = ("scales", "biases")
WAY_OUT = "Download the model again, or use another conversion of it."


def check_layers(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Raises BrokenFolder that names the first tensor that is missing or has another shape."""
    if config.get("model_type") not in UNIFORM:
        return
    layers = _layers(tensors)
    if not layers:
        return
    _check_complete(layers, config.get("num_hidden_layers"))
    wanted = _shapes(config)
    for number, parts in sorted(layers.items()):
        for name, tensor in parts.items():
            _check_shape(f"layers.{number}.{name}", tensor, parts, wanted)


def _layers(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := LAYER.match(name):
            found.setdefault(int(match[1]), {})[match[2]] = tensor
    return found


def _check_complete(layers: dict[int, dict[str, Tensor]], count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count < 10_000:
        return
    gone = [number for number in range(count) if number not in layers]
    if gone:
        raise BrokenFolder(
            f"{len(gone)} of the model's {count} layers are not in its weight files, layer "
            f"{gone[0]} first. {WAY_OUT}"
        )
    plain = {number: _weights(parts) for number, parts in layers.items() if number < count}
    everything = frozenset[str]().union(*plain.values())
    for number, names in sorted(plain.items()):
        if missing := sorted(everything - names):
            raise BrokenFolder(
                f"The weight files hold no “layers.{number}.{missing[0]}”, which the other layers "
                f"have. {WAY_OUT}"
            )


def _weights(parts: Mapping[str, Tensor]) -> frozenset[str]:
    """Without what only quantised layers have: some conversions leave a few layers as they were."""
    leaves = {name: name.rpartition(".") for name in parts}
    return frozenset(
        name
        for name, (stem, _, leaf) in leaves.items()
        if "rotary" not in name and not (leaf in PACKED and f"{stem}.weight" in parts)
    )


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """(rows, columns) of the projections; 0 where the config does not say."""

    def number(name: str) -> int:
        value = config.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    hidden, inner = number("hidden_size"), number("intermediate_size")
    heads = number("num_attention_heads")
    kv_heads = number("num_key_value_heads") or heads
    head = number("head_dim") or (hidden // heads if heads else 0)
    queries, keys = heads * head, kv_heads * head
    return {
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
        "input_layernorm.weight": (hidden, 0),
        "post_attention_layernorm.weight": (hidden, 0),
    }


def _check_shape(
    name: str, tensor: Tensor, parts: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, int]]
) -> None:
    part = name.split(".", 2)[2]
    rows, columns = wanted.get(part, (0, 0))
    stem = part.rpartition(".")[0]
    packed = f"{stem}.scales" in parts  # its columns are packed: only its rows can be compared
    expected = [rows, columns] if columns else [rows]
    compared = 1 if packed else len(expected)
    known = all(expected[:compared])
    if known and (
        len(tensor.shape) != len(expected) or tensor.shape[:compared] != expected[:compared]
    ):
        raise BrokenFolder(
            f"“{name}” has the shape {_words(tensor.shape)}, but config.json asks for "
            f"{_words(expected)}: they do not belong together. {WAY_OUT}"
        )


def _words(shape: list[int]) -> str:
    return " × ".join(f"{side:,}" for side in shape)
