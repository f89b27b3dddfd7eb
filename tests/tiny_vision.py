"""Tiny real vision models: random weights, processors that need neither torch nor torchvision.

`qwen2_vl` turns a picture into rows of a grid with positions in three axes; `gemma3` puts a fixed
number of rows into a plain sequence. Between them they are most of what vision models do.
"""

import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny

VISION_MARKUP = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
VISION_MARKUP += ["<image>", "<start_of_image>", "<eoi>"]
TEMPLATE = """
{%- macro render(content) -%}
{%- if content is string -%}{{- content -}}{%- else -%}
{%- for part in content -%}
{%- if part.type == 'image' -%}{{- 'PICTURE' -}}
{%- elif part.type == 'audio' -%}{{- '<|audio|>' -}}
{%- else -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
{{- '<|im_start|>system\\nTools: ' -}}{%- for tool in tools -%}{{- tool | tojson -}}{%- endfor -%}
{{- '\\nCall one as <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + render(message.content) -}}
{%- for call in message.tool_calls or [] -%}
{%- set tool_call = call.function -%}
{{- '<tool_call>' + {'name': tool_call.name, 'arguments': tool_call.arguments} | tojson -}}
{{- '</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is defined and not enable_thinking -%}
{{- '<think>\\n\\n</think>\\n\\n' -}}
{%- endif -%}
{%- endif -%}
""".strip()

SIZES = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "vocab_size": tiny.VOCABULARY,
}
QWEN2_VISION = {
    "model_type": "qwen2_vl",
    "depth": 2,
    "embed_dim": 32,
    "hidden_size": 128,
    "num_heads": 2,
    "mlp_ratio": 2,
    "patch_size": 14,
    "spatial_patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
    "in_chans": 3,
}
GEMMA3_VISION = {
    "model_type": "siglip_vision_model",
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
SHADES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255}


def make_qwen2_vl(folder: Path, *, seed: int = 3) -> Path:
    """The positions of its pictures run in three axes (mrope)."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = _tokenizer(folder, "<|vision_start|><|image_pad|><|vision_end|>")
    config: dict[str, Any] = {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        **SIZES,
        "hidden_act": "silu",
        "rope_scaling": {"type": "mrope", "mrope_section": [8, 12, 12]},
        "tie_word_embeddings": False,
        "eos_token_id": ids["<|im_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|image_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_config": QWEN2_VISION,
    }
    processor = {
        "processor_class": "Qwen2VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "min_pixels": 28 * 28,
        "max_pixels": 28 * 28 * 64,
        **SHADES,
    }
    _write(folder, config, processor, seed)
    return folder


def make_gemma3(folder: Path, *, seed: int = 4) -> Path:
    """A SigLIP tower and a projector: four rows for each picture, plain positions, and every second
    layer sees only the last 16 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = _tokenizer(folder, "<start_of_image>")
    names = {"image_token": "<image>", "boi_token": "<start_of_image>", "eoi_token": "<eoi>"}
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "extra_special_tokens": names}))
    config: dict[str, Any] = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text",
            **SIZES,
            "head_dim": 64,
            "query_pre_attn_scalar": 64,
            "num_hidden_layers": 4,
            "sliding_window": 16,
            "sliding_window_pattern": 2,
            "mm_tokens_per_image": 4,
        },
        "vision_config": GEMMA3_VISION,
        "image_token_index": ids["<image>"],
        "pad_token_id": ids["<|endoftext|>"],
        "hidden_size": SIZES["hidden_size"],
        "vocab_size": tiny.VOCABULARY,
        "mm_tokens_per_image": 4,
        "eos_token_id": [ids["<|im_end|>"]],
    }
    processor = {
        "processor_class": "Gemma3Processor",
        "image_processor_type": "Gemma3ImageProcessorPil",
        "size": {"height": 56, "width": 56},
        "image_seq_length": 4,
        **SHADES,
    }
    # Gemma scales embeddings up itself; larger ones would leave attention nothing to say.
    _write(folder, config, processor, seed, embedding_gain=0.1)
    own = {"processor_class": "Gemma3Processor", "image_seq_length": 4}
    (folder / "processor_config.json").write_text(json.dumps(own))
    return folder


def make_gemma4(folder: Path, *, seed: int = 5, hears: bool = True) -> Path:
    """Pictures as for Gemma 3, and sounds: a row for each 40 ms."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>",
        "audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>",
    }  # fmt: skip
    ids = _tokenizer(folder, "<|image|>", [*names.values(), "<|video|>"])
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "extra_special_tokens": names}))
    text = {
        **SIZES,
        "model_type": "gemma4_text",
        "num_hidden_layers": 4,
        "head_dim": 64,
        "global_head_dim": 64,
        "hidden_size_per_layer_input": 0,
        "num_kv_shared_layers": 0,
        "sliding_window": 16,
        "sliding_window_pattern": 2,
        "use_double_wide_mlp": False,
    }
    tower = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
    config: dict[str, Any] = {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "text_config": text,
        "vision_config": {
            **tower, "num_key_value_heads": 2, "intermediate_size": 64, "head_dim": 16,
            "global_head_dim": 16, "position_embedding_size": 64,
        },
        "audio_config": {
            **tower, "subsampling_conv_channels": [8, 4], "output_proj_dims": 32,
            "use_clipped_linears": False,
        } if hears else None,
        "hidden_size": SIZES["hidden_size"],
        "vocab_size": tiny.VOCABULARY,
        "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": [ids["<|im_end|>"]],
        "video_token_id": ids["<|video|>"],
        **{f"{name}_id": ids[mark] for name, mark in names.items()},
    }  # fmt: skip
    processor = {
        "processor_class": "Gemma4Processor",
        "image_processor": {"image_processor_type": "Gemma4ImageProcessor", "max_soft_tokens": 4},
        "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
        "audio_ms_per_token": 40,
    }
    _write(folder, config, processor, seed, embedding_gain=0.1)
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def picture(seed: int = 0, width: int = 56, height: int = 56, kind: str = "PNG") -> bytes:
    """A real file of coloured noise."""
    from PIL import Image

    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _tokenizer(folder: Path, mark: str, markup: list[str] = VISION_MARKUP) -> dict[str, int]:
    ids = tiny.write_tokenizer(folder, [*tiny.MARKUP, *markup])
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("PICTURE", mark))
    return ids


def _write(
    folder: Path,
    config: dict[str, Any],
    processor: dict[str, Any],
    seed: int,
    embedding_gain: float = 11.0,
) -> None:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1))
    module = importlib.import_module(f"mlx_vlm.models.{config['model_type']}")
    parsed = module.ModelConfig.from_dict(json.loads(json.dumps(config)))
    if isinstance(parsed.text_config, dict):
        parsed.text_config = module.TextConfig.from_dict(parsed.text_config)
    if isinstance(parsed.vision_config, dict):
        parsed.vision_config = module.VisionConfig.from_dict(parsed.vision_config)
    if isinstance(getattr(parsed, "audio_config", None), dict):
        parsed.audio_config = module.AudioConfig.from_dict(parsed.audio_config)
    random = np.random.default_rng(seed)
    weights = {
        name: mx.array(_random(name, array.shape, random, embedding_gain))
        for name, array in tree_flatten(module.Model(parsed).parameters())
    }
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})


def _random(
    name: str, shape: tuple[int, ...], random: np.random.Generator, embedding_gain: float
) -> Any:
    """As for text: decoding is decisive. Norms and biases are neutral."""
    if len(shape) == 1:
        is_factor = name.endswith(("weight", "scalar"))
        return (np.ones if is_factor else np.zeros)(shape, np.float32)
    gain = embedding_gain if "embed_tokens" in name else 2.5 if "lm_head" in name else 1.0
    scale = gain / np.sqrt(np.prod(shape[1:]))
    return (random.standard_normal(shape) * scale).astype(np.float32)
