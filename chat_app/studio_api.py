"""Silicon Studio's chat, its stop and its completion of code; MLX-GUI's generate; /unload."""

from collections.abc import AsyncIterator
from typing import Literal, NotRequired, TypedDict

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from msgspec.structs import replace

from chat_app.answering import answer, dialect_view, events_of
from chat_app.stopping import stop_all, stoppable, until
from mlxgui.api import add_warnings, json_api, json_response
from mlxgui.engine.errors import EngineError
from mlxgui.engine.memory import machine_memory
from mlxgui.engine.types import Started, Warned
from mlxgui.openapi.operations import MODEL, operation
from mlxgui.runtime import get_runtime
from mlxgui.wire import EVENT_STREAM, Parsed, native_text, studio

HIGH_MEMORY_PERCENT = 90


class Stopped(TypedDict):
    status: Literal["stopped"]


class Predicted(TypedDict):
    text: str


class GeneratedUsage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class GeneratedTiming(TypedDict):
    generation_time_seconds: float
    tokens_per_second: float


class Generated(TypedDict):
    model: str
    prompt: str
    text: str
    usage: GeneratedUsage
    timing: GeneratedTiming


class UnloadedNames(TypedDict):
    """The model used last among them, and all of them."""

    model_name: str
    adapter_name: str | None
    models: list[str]


class Unloaded(TypedDict):
    status: Literal["success", "no_model_loaded"]
    message: str
    unloaded: NotRequired[UnloadedNames]


async def _chat(request: HttpRequest) -> HttpResponseBase:
    """Whatever can be refused is refused with a status; what goes wrong later is an event."""
    parsed = studio.parse(request.body)
    frames = _frames(parsed, request.path)
    response = StreamingHttpResponse(_all(await anext(frames), frames), content_type=EVENT_STREAM)
    response["Cache-Control"], response["X-Accel-Buffering"] = "no-cache", "no"
    return add_warnings(response, parsed.warnings)


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for frame in rest:
        yield frame


async def _frames(parsed: Parsed, route: str) -> AsyncIterator[bytes]:
    """The first comes when the model has accepted the request. Raises EngineError before it."""
    encoder = studio.encoder(parsed)
    warnings = b"".join(encoder.feed(Warned(text)) for text in memory_warnings())
    has_begun = has_ended = False
    with stoppable() as stop:
        try:
            async for event in until(await events_of(studio, parsed, route), stop):
                frame = encoder.feed(event)
                if isinstance(event, Started):
                    has_begun = True
                    yield warnings
                elif isinstance(event, Warned) and not has_begun:
                    warnings += frame
                elif frame:
                    has_ended = frame.endswith(studio.END)
                    yield frame
        except EngineError as error:
            if not has_begun:
                raise
            yield encoder.fail(error)
            return
    if not has_ended:
        yield studio.END


def memory_warnings() -> list[str]:
    machine = machine_memory()
    used = 100 * (machine.total_bytes - machine.available_bytes) // max(machine.total_bytes, 1)
    if used < HIGH_MEMORY_PERCENT:
        return []
    return [f"High memory usage: {used} % of this computer's memory is in use."]


async def _predict(request: HttpRequest) -> HttpResponseBase:
    return await answer(studio, studio.parse_predict(request.body), request.path)


async def _generate(request: HttpRequest, name: str) -> HttpResponseBase:
    parsed = replace(native_text.parse(request.body), model=name)
    return await answer(native_text, parsed, request.path)


chat = operation(
    summary="Chat as Silicon Studio streams it: pieces of text, warnings, an end.",
    body=studio.ChatBody,
    media=(EVENT_STREAM,),
    refuses=MODEL,
)(dialect_view(studio, _chat))
predict = operation(
    summary="A few words that go on from code, in one piece.",
    body=studio.PredictBody,
    answer=Predicted,
    refuses=MODEL,
)(dialect_view(studio, _predict))
generate = operation(
    summary="Text that goes on from a prompt, with usage and timing, as MLX-GUI has it.",
    body=native_text.Body,
    answer=Generated,
    refuses=(404, 503, 504),
)(dialect_view(native_text, _generate))


@operation(answer=Stopped)
@json_api("POST", shape="detail")
async def stop(request: HttpRequest) -> HttpResponse:
    """Stop what /api/engine/chat is writing now."""
    stop_all()
    return json_response({"status": "stopped"})


@operation(answer=Unloaded)
@json_api("POST", shape="detail")
async def unload(request: HttpRequest) -> HttpResponse:
    """Unload every model that is in memory, as the mlx-vlm server has it."""
    pool = get_runtime().pool
    found = [one for one in pool.residents() if one.state == "ready"]
    found.sort(key=lambda one: str(one.last_used_at or one.loaded_at), reverse=True)
    if not found:
        return json_response({"status": "no_model_loaded", "message": "No model is loaded"})
    for one in found:
        await pool.unload(one.key)
    names = [one.name for one in found]
    gone = {
        "model_name": names[0],
        "adapter_name": found[0].adapter_path or None,
        "models": names,
    }
    message = f"Unloaded {', '.join(names)}"
    return json_response({"status": "success", "message": message, "unloaded": gone})
