"""Which architectures the installed libraries know, and what kind of model a config describes.

The libraries are looked at as files: importing them would bring mlx into the web process.
"""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlxgui.engine.spec import Kind
from models_app.inspection.facts import BrokenFolder
from models_app.inspection.weights import Tensors, names_any

VALID_TYPE = re.compile(r"[A-Za-z0-9][\w+-]*(\.[\w+-]+)*")
VISION_KEYS = ("vision_config", "vision_tower", "mm_vision_tower", "image_token_index")
VISION_TENSORS = ("vision", "visual", "vit.", "image_newline", "multi_modal", "patch_embed")
ENCODERS = ("bert", "modernbert", "xlm-roberta", "xlm_roberta", "llama_bidirec")
CONTEXT_KEYS = (
    "max_position_embeddings",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "n_positions",
    "n_ctx",
    "model_max_length",
    "n_text_ctx",
)
TEXT_CONFIGS = ("text_config", "language_config", "llm_config", "thinker_config")
FAMILIES = {
    "gpt_oss": "GPT-OSS", "deepseek": "DeepSeek", "smollm": "SmolLM", "lfm": "LFM", "glm": "GLM",
    "olmo": "OLMo", "rwkv": "RWKV", "bert": "BERT", "modernbert": "ModernBERT", "mimo": "MiMo",
    "minicpm": "MiniCPM", "minimax": "MiniMax", "exaone": "EXAONE", "internlm": "InternLM",
    "internvl": "InternVL", "gpt": "GPT", "llava": "LLaVA", "xlm": "XLM-RoBERTa",
}  # fmt: skip
SPEAKING_NAMES = re.compile(r"tts\b|\borpheus\b", re.I)
REMAPPING = re.compile(r"^\w*MODEL_REMAPPING[^=\n]*= (\{.*?^\})", re.M | re.S)


@cache
def known_types(library: str, rooms: str = "models", table: str = "utils.py") -> frozenset[str]:
    """The model types that a library has a module for, or renames to one it has."""
    spec = find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    root = Path(spec.submodule_search_locations[0])
    modules = {
        path.stem if path.suffix == ".py" else path.name
        for path in (root / rooms).glob("[!_.]*")
        if path.suffix == ".py" or path.is_dir()
    }
    return frozenset(modules | _renamed(root / table))


def _renamed(file: Path) -> set[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return set()
    return {name for table in REMAPPING.findall(text) for name in ast.literal_eval(table)}


def _knows(library: str, model_type: str, *where: str) -> bool:
    names = {model_type, model_type.lower(), model_type.lower().replace("-", "_")}
    return bool(names & known_types(library, *where))


def model_type(config: dict[str, Any]) -> str:
    found = config.get("model_type") or _by_its_parts(config)
    if not isinstance(found, str) or not found:
        raise BrokenFolder(
            "config.json does not say which architecture this is (model_type). Download it again."
        )
    if not VALID_TYPE.fullmatch(found) or len(found) > 100:
        raise BrokenFolder("The architecture that config.json names (model_type) is no valid name.")
    return found


def _by_its_parts(config: dict[str, Any]) -> str:
    """Some speech models do not name their type; mlx-audio knows them by what they are made of."""
    parts = {"kokoro": {"istftnet", "plbert"}, "pocket_tts": {"flow_lm", "mimi"}}
    return next((kind for kind, names in parts.items() if names <= set(config)), "")


def kind_of(folder: Path, name: str, config: dict[str, Any], tensors: Tensors) -> Kind:
    """By what the folder holds; by its name only where two kinds share every file (rerankers)."""
    architecture = model_type(config)
    if any(str(item).endswith("ForSequenceClassification") for item in _architectures(config)):
        return "rerank"
    if _is_embedding(folder, name, architecture):
        return "rerank" if "rerank" in name.lower() else "embedding"
    if "rerank" in name.lower():
        return "rerank"
    looks = any(key in config for key in VISION_KEYS) and names_any(tensors, VISION_TENSORS)
    if looks and _knows("mlx_vlm", architecture):
        return "vision"
    speaks = SPEAKING_NAMES.search(name)  # they may be built on a text model, with its type
    if speaks and _knows("mlx_audio", architecture, "tts/models", "tts/utils.py"):
        return "tts"
    if _knows("mlx_lm", architecture):
        return "text"
    if _knows("mlx_audio", architecture, "stt/models", "stt/utils.py"):
        return "stt"
    if _knows("mlx_audio", architecture, "tts/models", "tts/utils.py"):
        return "tts"
    if _knows("mlx_vlm", architecture):
        return "vision"
    raise BrokenFolder(
        f"No installed library knows the architecture “{architecture}”. A newer version of this "
        "application may; else look for another model of its family."
    )


def _architectures(config: dict[str, Any]) -> list[Any]:
    found = config.get("architectures")
    return found if isinstance(found, list) else []


def _is_embedding(folder: Path, name: str, architecture: str) -> bool:
    if (folder / "modules.json").is_file() or (folder / "1_Pooling" / "config.json").is_file():
        return True
    return architecture in ENCODERS or "embedding" in architecture or "embedding" in name.lower()


def context_tokens(config: dict[str, Any]) -> int:
    parts: list[Any] = [config, *(config.get(key) for key in TEXT_CONFIGS)]
    values = [part.get(key) for part in parts if isinstance(part, dict) for key in CONTEXT_KEYS]
    return next((value for value in values if isinstance(value, int) and 0 < value < 1 << 31), 0)


def head_numbers(config: dict[str, Any]) -> int:
    """Numbers in one attention head; 0 where the config does not say."""
    parts = [config, *(config.get(key) for key in TEXT_CONFIGS)]
    for part in parts:
        if not isinstance(part, dict):
            continue
        width, heads = part.get("hidden_size"), part.get("num_attention_heads")
        if isinstance(found := part.get("head_dim"), int) and found > 0:
            return found
        if isinstance(width, int) and isinstance(heads, int) and heads > 0:
            return width // heads
    return 0


def quantization_of(config: dict[str, Any]) -> tuple[str, int]:
    """("4-bit", group size), or ("", 0) where the weights are as they were trained."""
    found = config.get("quantization") or config.get("quantization_config")
    if not isinstance(found, dict):
        return "", 0
    bits, group = found.get("bits"), found.get("group_size")
    group = group if isinstance(group, int) else 0
    if isinstance(bits, int):
        return f"{bits}-bit", group
    return str(found.get("quant_method") or "quantised")[:20], group


def family_of(architecture: str) -> str:
    for start, family in FAMILIES.items():
        if architecture.lower().startswith(start):
            return family
    letters = re.match(r"[a-z]+", architecture.lower())
    return letters[0].capitalize() if letters else architecture
