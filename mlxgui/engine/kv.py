"""How the KV cache of a model grows with its tokens, told from config.json. No mlx.

Layers of three kinds: those that keep keys and values of every token, those that keep a window of
them, and those with a state of one size however long the text is. Sizes in bytes.
Source: mlx-lm's model classes (`make_cache` of each) and its cache classes.
"""

from typing import Any

from msgspec import Struct

STEP_TOKENS = 256
"""mlx-lm's caches grow by so many tokens at a time."""
STATE_NUMBER_BYTES = 4
"""State-space models keep their state at 32 bits, whatever the weights are."""
GEMMA3_PATTERN = 6
FULL = ("full_attention", "attention", "global_attention", "chunked_attention", "full")
SLIDING = ("sliding_attention", "local_attention", "sliding")
# State-space models without a single attention layer.
STATE_ONLY = ("mamba", "mamba2", "falcon_mamba", "rwkv7")


class KvShape(Struct, frozen=True):
    """What one row of the cache takes."""

    growing_bytes: int = 0
    """For each token, in all layers that keep every token."""
    windows: tuple[tuple[int, int], ...] = ()
    """(tokens kept, bytes for each of them), for all layers of that window together."""
    state_bytes: int = 0
    number_bytes: int = 2

    def row_bytes(self, tokens: int, bits: int = 0, group: int = 64, start: int = 0) -> int:
        """Of a row of so many tokens. With `bits` what is beyond `start` tokens is quantised: all
        of the row, once it is longer."""
        stored = _stored(tokens)
        grown = self.growing_bytes * stored
        if bits and tokens > start:
            before = self.growing_bytes * min(stored, _stored(start))
            grown = max(before, int(grown * quantised_share(bits, group, self.number_bytes)))
        kept = sum(min(stored, window) * size for window, size in self.windows)
        return grown + kept + self.state_bytes

    def most_tokens(
        self, room_bytes: int, most: int, *, bits: int = 0, group: int = 64, start: int = 0
    ) -> int:
        """The longest row that fits, at most `most`; 0 = none does."""
        if self.row_bytes(most, bits, group, start) <= room_bytes:
            return most
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.row_bytes(middle, bits, group, start) <= room_bytes:
                low = middle
            else:
                high = middle - 1
        return low


def _stored(tokens: int) -> int:
    """Tokens that a cache has room for once it holds so many."""
    return -(-max(tokens, 0) // STEP_TOKENS) * STEP_TOKENS


def quantised_share(bits: int, group: int, number_bytes: int) -> float:
    """Of a number's own bytes; a scale and a bias go with each group."""
    return bits / 8 / number_bytes + 2 / group


def kv_shape(config: dict[str, Any], number_bytes: int = 2) -> KvShape:
    """From a model's config.json; an empty shape where it does not say enough."""
    text = text_config(config)
    full, sliding, other = _layer_counts(text)
    latent = number(text, "kv_lora_rank")  # multi-head latent attention stores one latent a layer
    if latent:
        numbers = latent + number(text, "qk_rope_head_dim")
    else:
        numbers = 2 * _kv_heads(text) * _head_dim(text)
    size = numbers * number_bytes
    window = number(text, "sliding_window", "sliding_window_size", "attention_window_size")
    return KvShape(
        growing_bytes=full * size,
        windows=((window, sliding * size),) if sliding else (),
        state_bytes=other * _state_bytes(text, number_bytes),
        number_bytes=number_bytes,
    )


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part about the language model; a model of several senses has it apart."""
    nested = config.get("text_config")
    return nested if isinstance(nested, dict) else config


def number(config: dict[str, Any], *names: str) -> int:
    """The first of these that is a positive whole number; 0 = none is."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def layers(text: dict[str, Any]) -> int:
    return number(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers")


def heads(text: dict[str, Any]) -> int:
    return number(text, "num_attention_heads", "n_head", "n_heads", "num_heads")


def hidden(text: dict[str, Any]) -> int:
    return number(text, "hidden_size", "n_embd", "d_model")


def _head_dim(text: dict[str, Any]) -> int:
    return number(text, "head_dim") or (hidden(text) // heads(text) if heads(text) else 0)


def _kv_heads(text: dict[str, Any]) -> int:
    return number(text, "num_key_value_heads", "n_head_kv", "num_kv_heads") or heads(text)


def _layer_counts(text: dict[str, Any]) -> tuple[int, int, int]:
    """Layers that (keep every token, keep a window, have a state)."""
    count = layers(text)
    if text.get("model_type") in STATE_ONLY:
        return 0, 0, count
    kinds = _layer_kinds(text, count)
    # Gemma's last layers read what earlier ones keep.
    own = count - number(text, "num_kv_shared_layers")
    kinds = kinds[: max(0, own)]
    windowed = bool(number(text, "sliding_window", "sliding_window_size", "attention_window_size"))
    sliding = sum(kind in SLIDING for kind in kinds) if windowed else 0
    full = sum(kind in FULL or (kind in SLIDING and not windowed) for kind in kinds)
    return full, sliding, len(kinds) - full - sliding


def _layer_kinds(text: dict[str, Any], count: int) -> list[str]:
    """The kind of each layer, as families write it."""
    listed = text.get("layer_types") or text.get("layers_block_type")
    if isinstance(listed, list) and listed:
        return [str(kind) for kind in listed][:count]
    if isinstance(chosen := text.get("full_attn_idxs"), list):
        return ["full" if i in chosen else "state" for i in range(count)]
    if isinstance(pattern := text.get("hybrid_override_pattern"), str):
        return ["full" if sign == "*" else "state" for sign in pattern if sign in "*M"]
    if every := number(text, "full_attention_interval", "attn_layer_period"):
        at = text.get("attn_layer_offset", every - 1)
        return ["full" if i % every == at else "state" for i in range(count)]
    if every := _window_pattern(text):
        return ["full" if i % every == every - 1 else "sliding" for i in range(count)]
    return ["full"] * count


def _window_pattern(text: dict[str, Any]) -> int:
    """Every so-manieth layer sees everything; 0 = all do."""
    pattern = text.get("sliding_window_pattern") or text.get("_sliding_window_pattern")
    if isinstance(pattern, str):  # EXAONE writes LLLG
        return len(pattern)
    if isinstance(pattern, int) and pattern > 0:
        return pattern
    return GEMMA3_PATTERN if str(text.get("model_type", "")).startswith("gemma3") else 0


def _state_bytes(text: dict[str, Any], number_bytes: int) -> int:
    """Of one layer: the last inputs of its convolution, and its state."""
    if taps := number(text, "conv_L_cache"):
        return (taps - 1) * hidden(text) * number_bytes
    if taps := number(text, "linear_conv_kernel_dim"):
        keys = number(text, "linear_key_head_dim")
        values = number(text, "linear_value_head_dim")
        value_heads = number(text, "linear_num_value_heads")
        width = 2 * keys * number(text, "linear_num_key_heads") + values * value_heads
        state = value_heads * keys * values
        return (taps - 1) * width * number_bytes + state * STATE_NUMBER_BYTES
    states = number(text, "state_size", "ssm_state_size", "mamba_d_state")
    taps = number(text, "conv_kernel", "mamba_d_conv", "conv_kernel_size")
    groups = number(text, "n_groups", "mamba_n_groups")
    state_heads = number(text, "mamba_num_heads", "mamba_n_heads", "num_heads")
    head_dim = number(text, "mamba_head_dim", "mamba_d_head", "head_dim")
    inner = state_heads * head_dim or number(text, "intermediate_size")
    width = inner + 2 * groups * states
    return max(0, taps - 1) * width * number_bytes + inner * states * STATE_NUMBER_BYTES
