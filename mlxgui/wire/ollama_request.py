"""What Ollama's two routes share on the way in: names, options, format, thinking."""

import time
from typing import Any

import msgspec
from msgspec import Struct

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import Constraint, GenerationRequest, Sampling
from mlxgui.wire import Parsed, fields
from mlxgui.wire.ollama_body import Asked, Options

LATEST = ":latest"

_REFUSED = {"typical_p": 1.0, "tfs_z": 1.0, "mirostat": 0}
"""Samplers that are not here, and the values that switch them off."""
_OF_OLLAMA = (
    "num_keep", "penalize_newline", "numa", "num_batch", "num_gpu", "main_gpu", "low_vram",
    "logits_all", "vocab_only", "use_mmap", "use_mlock", "embedding_only", "num_thread",
    "mirostat_tau", "mirostat_eta",
)  # fmt: skip


class About(Struct):
    """What the answer needs beside the events."""

    began: int = 0
    """time.perf_counter_ns() when the request came."""
    has_logprobs: bool = False


class _Named(Struct):
    options: dict[str, msgspec.Raw] | None = None


_names = msgspec.json.Decoder(_Named)


def plain_name(name: str) -> str:
    """Ollama's clients add “:latest” to a name that has no tag."""
    return name.removesuffix(LATEST)


def parsed(given: Asked, request: GenerationRequest, warnings: list[str]) -> Parsed:
    """The request with all that does not depend on the route. Raises BadRequest."""
    options = given.options or Options()
    sampling = sampling_of(options)
    max_tokens = options.num_predict if options.num_predict and options.num_predict > 0 else 0
    return Parsed(
        model=plain_name(given.model),
        request=msgspec.structs.replace(
            request,
            sampling=Sampling(**sampling),
            max_tokens=max_tokens,
            read_only=options.num_predict == 0,
            stop=fields.stop_list(options.stop, param="options.stop"),
            constraint=constraint(given),
            logprobs=(given.top_logprobs or 0) if given.logprobs else -1,
            enable_thinking=None if given.think is None else given.think is not False,
            template_kwargs=effort(given),
            keep_alive_seconds=fields.seconds_of(given.keep_alive),
        ),
        stream=given.stream is not False,
        given=frozenset(sampling) | ({"max_tokens"} if options.num_predict is not None else set()),
        warnings=warnings,
        options=About(time.perf_counter_ns(), bool(given.logprobs)),
    )


def sampling_of(options: Options) -> dict[str, Any]:
    """Only what was given, in the engine's names. Raises Unsupported for samplers not here."""
    for name, off in _REFUSED.items():
        if getattr(options, name) not in (None, off):
            raise Unsupported(f"There is no {name} here; leave it out.", param=f"options.{name}")
    last = options.repeat_last_n
    penalty = options.repeat_penalty if last != 0 else 1.0
    return fields.chosen(
        temperature=options.temperature,
        top_k=None if options.top_k is None else max(options.top_k, 0),
        top_p=options.top_p,
        min_p=options.min_p,
        repetition_penalty=penalty,
        repetition_context_tokens=last if last and last > 0 else None,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        seed=options.seed if options.seed is None or options.seed >= 0 else None,
    )


def constraint(given: Asked) -> Constraint | None:
    wanted = given.format
    if not wanted:
        return None
    if wanted == "json":
        return Constraint("json_object")
    if isinstance(wanted, str):
        raise BadRequest("format must be “json” or a JSON Schema.", param="format")
    return Constraint("json_schema", msgspec.json.encode(wanted).decode())


def effort(given: Asked) -> dict[str, Any]:
    return {"reasoning_effort": given.think} if isinstance(given.think, str) else {}


def notes(body: bytes, given: Asked, known: frozenset[str]) -> list[str]:
    """What has no meaning here, as warnings: Ollama's own server ignores it too."""
    found = [f"unknown parameter: {name}" for name in fields.unknown_fields(body, known)]
    options = _names.decode(body).options or {}
    known_options = fields.struct_fields(Options)
    found += [f"unknown option: {name}" for name in options if name not in known_options]
    found += [f"option without meaning here: {name}" for name in options if name in _OF_OLLAMA]
    if given.options is not None and given.options.num_ctx:
        found.append("num_ctx: the model's whole context is always there")
    return found
