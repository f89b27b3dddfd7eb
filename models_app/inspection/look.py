"""One look at one folder: what it is, or why it cannot be used."""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models_app.inspection import (
    architectures,
    files,
    layers,
    numbers,
    pipelines,
    templates,
    tokenizer,
    weights,
)
from models_app.inspection.facts import BrokenFolder, Facts
from models_app.inspection.generation import generation_defaults

VERSION = 2  # of what is found out: raise it, and every folder is looked at again
README_BYTES = 64 << 10
BASE_MODEL = re.compile(r"^base_model:\s*(?:-\s*)?[\"']?([\w.-]+/[\w.-]+)", re.M)
TITLE = re.compile(r"^# ([\w.-]+/[\w.-]+)\s*$", re.M)


def fingerprint(folder: Path) -> str:
    """Changes when the folder does, or when this application or its libraries do."""
    parts = [str(VERSION), *_library_versions()]
    try:
        for entry in files.entries(folder):
            if entry.is_dir():
                continue
            stat = entry.stat() if _exists(entry.path) else entry.stat(follow_symlinks=False)
            parts.append(f"{entry.path} {stat.st_size} {stat.st_mtime_ns}")
    except (OSError, BrokenFolder) as error:
        parts.append(str(error))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _exists(path: str) -> bool:
    return Path(path).exists()


@cache
def _library_versions() -> list[str]:
    return [f"{name} {_version(name)}" for name in ("mlx-lm", "mlx-vlm", "mlx-audio")]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def inspect(
    folder: Path, roots: Sequence[Path], name: str = "", *, may_run_code: bool = False
) -> Facts:
    """Never raises: what is wrong with the folder is one of the facts."""
    facts = Facts()
    try:
        _look(folder, roots, name or folder.name, facts, may_run_code)
    except BrokenFolder as problem:
        facts.error_message = str(problem)
    except OSError as error:
        facts.error_message = f"The folder cannot be read: {error.strerror or error}."
    return facts


def _look(folder: Path, roots: Sequence[Path], name: str, facts: Facts, may_run_code: bool) -> None:
    files.check_links(folder, [], roots)
    found = files.entries(folder)
    if not found:
        raise BrokenFolder("The folder is empty. Put a model into it, or delete it.")
    files.check_links(folder, found, roots)
    _read_card(folder, facts)
    if pipelines.is_pipeline(folder):
        if not may_run_code:
            files.check_no_code(folder, found)
        pipelines.read_pipeline(folder, facts, may_run_code=may_run_code)
        return
    facts.config = _read_config(folder, facts)
    facts.architecture = architectures.model_type(facts.config)
    facts.family = architectures.family_of(facts.architecture)
    facts.context_tokens = architectures.context_tokens(facts.config)
    facts.generation = generation_defaults(folder)
    if not may_run_code:
        files.check_no_code(folder, found)
    _read_weights(folder, name, facts)


def _read_weights(folder: Path, name: str, facts: Facts) -> None:
    tensors, facts.weights_bytes = weights.read_weights(folder)
    label, group = architectures.quantization_of(facts.config)
    facts.quantization = label or weights.main_dtype(tensors)
    facts.parameters = weights.count_parameters(tensors, group)
    facts.kind = architectures.kind_of(folder, name, facts.config, tensors)
    vocabulary = tokenizer.read_tokenizer(folder, facts.kind)
    if vocabulary is not None and facts.kind not in tokenizer.WITHOUT_TOKENIZER:
        tokenizer.check_fits(vocabulary, weights.embedding_rows(tensors), facts.config)
    if facts.kind in ("text", "vision"):
        templates.check_templates(folder)
    layers.check_layers(tensors, facts.config)
    numbers.check_numbers(folder)
    template = tokenizer.chat_template(folder)
    facts.capabilities = tokenizer.capabilities(facts.kind, template, vocabulary)


def _read_config(folder: Path, facts: Facts) -> dict:
    if (folder / "config.json").is_file():
        return files.read_object(folder / "config.json")
    if (folder / "adapter_config.json").is_file():
        base = str(files.read_object(folder / "adapter_config.json").get("model") or "")
        facts.is_finetuned, facts.base_model, facts.adapter_path = True, base, str(folder)
        raise BrokenFolder(
            "This is an adapter: the difference that training made to "
            f"{base or 'another model'}. It is used together with that model, not alone."
        )
    raise BrokenFolder(
        "There is no config.json in the folder. Download the missing files of the model again."
    )


def _read_card(folder: Path, facts: Facts) -> None:
    """mlx-community's cards name their own repository as the title, and what it was made from."""
    try:
        with (folder / "README.md").open("rb") as stream:
            card = stream.read(README_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return
    title, base = TITLE.search(card), BASE_MODEL.search(card)
    if title and title[1].rpartition("/")[2] == folder.name:
        facts.huggingface_id = title[1]
    facts.base_model = base[1] if base else ""
