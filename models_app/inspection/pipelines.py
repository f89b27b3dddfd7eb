"""Image pipelines: folders of parts, each with a config and weights, under one model_index.json."""

from pathlib import Path

from models_app.inspection import architectures, files, weights
from models_app.inspection.facts import BrokenFolder, Facts

INDEX = "model_index.json"
FAMILIES = (
    "bonsai", "ernie_image", "flux2", "flux3", "ideogram4", "llada_image", "mage_flow",
    "ming_image", "moss_image", "qwen_image", "z_image",
)  # fmt: skip
"""Those that mlx-vlm draws with, where the installed one knows them."""


def is_pipeline(folder: Path) -> bool:
    return (folder / INDEX).is_file() and not (folder / "config.json").is_file()


def read_pipeline(folder: Path, facts: Facts, *, may_run_code: bool) -> None:
    """Raises BrokenFolder, as a look at any other model does."""
    facts.kind, facts.architecture = "image", _family(folder)
    facts.family = architectures.family_of(facts.architecture)
    parts = sorted(path for path in folder.iterdir() if path.is_dir())
    tensors: weights.Tensors = {}
    for part in parts:
        if not may_run_code:
            files.check_no_code(part, [])
        if any(part.glob("*.safetensors")):
            found, size = weights.read_weights(part)
            tensors |= {f"{part.name}.{name}": tensor for name, tensor in found.items()}
            facts.weights_bytes += size
    if not tensors:
        raise BrokenFolder(
            "There are no weights (*.safetensors) in the folders of this pipeline. Download the "
            "model again."
        )
    facts.quantization = weights.main_dtype(tensors)
    facts.parameters = weights.count_parameters(tensors, 0)


def _family(folder: Path) -> str:
    """By the name of the pipeline's class: ZImagePipeline is z_image."""
    named = str(files.read_object(folder / INDEX).get("_class_name") or "")
    known = architectures.known_types("mlx_vlm")
    for family in FAMILIES:
        if family in known and named.lower().startswith(family.replace("_", "")):
            return family
    raise BrokenFolder(
        f"No installed library draws with “{named[:80] or 'a pipeline without a name'}”. Families"
        f" that can be used: {', '.join(family for family in FAMILIES if family in known)}."
    )
