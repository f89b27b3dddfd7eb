"""Pictures and sounds in messages: who can read them, and what becomes of them otherwise."""

from msgspec.structs import replace

from mlxgui.engine.errors import Unsupported
from mlxgui.engine.types import AudioPart, GenerationRequest, ImagePart, Message, TextPart

DROPPED = "This model sees no images; it answers without them."


def readable(
    request: GenerationRequest, *, sees: bool, hears: bool
) -> tuple[GenerationRequest, list[str]]:
    """The request as a model reads it that sees or hears, and what the client must be told.

    Raises Unsupported that names the message.
    """
    if not hears and (place := place_of(request, AudioPart)):
        raise Unsupported("This model hears no audio; send text.", param=place)
    place = "" if sees else place_of(request, ImagePart)
    if not place:
        return request, []
    if not request.drop_images:
        raise Unsupported(
            "This model sees no images; send text, or choose a vision model.", param=place
        )
    return replace(request, messages=[_text_alone(one) for one in request.messages]), [DROPPED]


def refuse_unread(request: GenerationRequest, kind: str) -> None:
    """What a model of this kind can never read is refused before the model is loaded for it.
    Raises Unsupported."""
    if kind == "text" and not request.drop_images:
        readable(request, sees=False, hears=False)


def place_of(request: GenerationRequest, kind: type[ImagePart] | type[AudioPart]) -> str:
    """The first message with such a part, as its client knows it; empty where there is none."""
    for i, message in enumerate(request.messages):
        if any(isinstance(part, kind) for part in parts_of(message)):
            return f"messages[{i}].content"
    return ""


def parts_of(message: Message) -> list[TextPart | ImagePart | AudioPart]:
    content = message.content
    return [TextPart(content)] if isinstance(content, str) else content


def _text_alone(message: Message) -> Message:
    if not any(isinstance(part, ImagePart) for part in parts_of(message)):
        return message
    return replace(message, content=message.text)
