"""/v1/completions: text that goes on from a prompt, as OpenAI's older API and mlx-lm's server."""

from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import GenerationRequest, Sampling
from mlxgui.wire import EVENT_STREAM, JSON, Parsed, fields, openai_text_answer
from mlxgui.wire.errors import openai_response
from mlxgui.wire.openai_body import (
    MAX_ALTERNATIVES,
    MAX_CHOICES,
    Count,
    Positive,
    SamplingIn,
    Share,
    StreamOptions,
)
from mlxgui.wire.openai_sampling import adapter_of, sampling_of

content_type, stream_type = JSON, EVENT_STREAM
request_id_header = "x-request-id"
# OpenAI's 16 tokens cut every answer short; a base model's text has no end. mlx-lm's server: 512.
defaults: dict[str, Any] = {"temperature": 1.0, "max_tokens": 512}
complete, encoder, error = openai_text_answer.complete, openai_text_answer.encoder, openai_response

MAX_TEXTS = 128
"""Prompts times choices in one call."""

Prompt = str | list[int]


class Body(SamplingIn, kw_only=True):
    """`prompt` is a text, its tokens, or a list of either."""

    prompt: str | list[str | int | list[int]]
    model: Annotated[str, Meta(min_length=1)] = "default_model"
    suffix: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    best_of: Positive | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None
    stop: str | list[str] | None = None
    min_tokens: Count | None = None
    ignore_eos: bool | None = None
    typical_p: Share | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None
    keep_alive: float | str | None = None
    adapters: str | None = None
    adapter_path: str | None = None
    # A label of the caller's own; it changes nothing in the answer.
    user: str | None = None


_decoder = msgspec.json.Decoder(Body)
_known = fields.struct_fields(Body)


def parse(body: bytes) -> Parsed:
    given = fields.decode(_decoder, body)
    prompts = _prompts(given)
    _refuse(given, len(prompts))
    sampling = sampling_of(given)
    read_only = given.max_tokens == 0
    requests = [
        GenerationRequest(
            prompt=prompt if isinstance(prompt, str) else "",
            prompt_tokens=prompt if isinstance(prompt, list) else [],
            suffix=given.suffix or "",
            echo=bool(given.echo),
            read_only=read_only,
            sampling=Sampling(**sampling),
            n=given.n or 1,
            max_tokens=given.max_tokens or 0,
            min_tokens=given.min_tokens or 0,
            ignore_eos=bool(given.ignore_eos),
            logprobs=-1 if given.logprobs is None else given.logprobs,
            stop=fields.stop_list(given.stop),
            priority=given.priority or 0,
            keep_alive_seconds=fields.seconds_of(given.keep_alive),
        )
        for prompt in prompts
    ]
    adapter, named_by = adapter_of(given.adapters, given.adapter_path)
    return Parsed(
        model=given.model,
        request=requests[0],
        others=requests[1:],
        stream=bool(given.stream),
        adapter=adapter,
        adapter_param=named_by,
        given=frozenset(sampling) | ({"max_tokens"} if given.max_tokens is not None else set()),
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
        options=given.stream_options or StreamOptions(),
    )


def _prompts(given: Body) -> list[Prompt]:
    prompt = given.prompt
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise BadRequest("The prompt is empty.", param="prompt")
    if all(isinstance(one, int) for one in prompt):
        return [cast(list[int], prompt)]
    if any(isinstance(one, int) or one == [] for one in prompt):
        raise BadRequest(
            "prompt must be a text, a list of texts, a list of tokens, or a list of such lists.",
            param="prompt",
        )
    return cast(list[Prompt], prompt)


def _refuse(given: Body, prompts: int) -> None:
    """Known parameters that cannot be honoured: never silently ignored."""
    n = given.n or 1
    if given.best_of not in (None, n):
        raise Unsupported("Texts are not ranked here; leave best_of out.", param="best_of")
    if prompts * n > MAX_TEXTS:
        raise BadRequest(
            f"At most {MAX_TEXTS} texts can be asked for at once; this is {prompts * n}.",
            param="prompt",
        )
    if given.max_tokens == 0 and not given.echo:
        raise BadRequest("max_tokens may be 0 only together with echo.", param="max_tokens")
    if given.suffix and not isinstance(given.prompt, str):
        raise BadRequest("suffix needs a prompt that is one text.", param="suffix")
    if given.suffix and given.echo:
        raise BadRequest("suffix and echo cannot be had together.", param="suffix")
    if given.typical_p not in (None, 1):
        raise Unsupported("mlx-lm has no typical sampling; leave typical_p out.", param="typical_p")
