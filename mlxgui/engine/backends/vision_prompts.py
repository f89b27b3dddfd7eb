"""Conversations with pictures: the text of the prompt, and the pictures ready for the processor.

Runs on the worker's reader thread: no mlx, only the tokenizer and the decoding of files.
"""

import hashlib
import io
from typing import Any

import numpy as np
from mlx_vlm.prompt_utils import MODEL_CONFIG, get_message_json
from PIL import Image, ImageOps

from mlxgui.engine.backends.prompts import Prompt, Prompter, as_template_message
from mlxgui.engine.cache.segments import Layout
from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.media import parts_of, readable
from mlxgui.engine.types import AudioPart, GenerationRequest, ImagePart, Message, TextPart

MAX_PIXELS = 50_000_000
"""A file of a few kB can hold a picture that takes GB."""
MAX_SOUND_SECONDS = 30 * 60
LAST_SOUND_SECONDS = 0.1
"""Encoders pad a clip's end, so that one of 30 s may come as a little more."""
LIST_FORMATS = "list_with_image"
"""How mlx-vlm calls templates that take parts as they come; others want marks in the text."""


class PicturePrompt(Prompt):
    """A prompt whose tokens are known only when the processor has seen its pictures."""

    text: str = ""
    pictures: list[Any] = []
    """PIL images, RGB, in the order of the text."""
    digests: list[bytes] = []
    """What tells each picture, in its size, from any other."""
    sounds: list[Any] = []
    """Samples of each clip: float32, mono."""
    reading: Any = None
    """The `Reading` that the mlx thread makes of it."""


class PicturePrompter(Prompter):
    """
    Args:
        model_type: of the whole model: which form of message its template wants.
        mark: what stands for a picture in the text of a prompt.
        sampling_rate: of the sounds that the model hears, in Hz; 0 = it hears none.
        sounds: how many it hears in one conversation; 0 = any number.
        sound_seconds: how much it hears of each; 0 = nothing but `MAX_SOUND_SECONDS` is known.
    """

    def __init__(
        self,
        tokenizer: Any,
        embedding_rows: int,
        context_tokens: int,
        *,
        model_type: str,
        mark: str,
        sampling_rate: int,
        sounds: int = 0,
        sound_seconds: float = 0.0,
    ) -> None:
        super().__init__(tokenizer, embedding_rows, context_tokens)
        self.model_type = model_type
        self.mark = mark
        self.sampling_rate = sampling_rate
        self.sounds = sounds
        self.sound_seconds = sound_seconds or MAX_SOUND_SECONDS
        form = MODEL_CONFIG.get(model_type)
        self.takes_parts = form is None or form.value.startswith(LIST_FORMATS)

    def readable(self, request: GenerationRequest) -> tuple[GenerationRequest, list[str]]:
        return readable(request, sees=True, hears=self.sampling_rate > 0)

    def plain(self, message: Message) -> dict[str, Any]:
        plain = as_template_message(message)
        parts = parts_of(message)
        if all(isinstance(part, TextPart) for part in parts):
            return plain
        if self.takes_parts and self.tokenizer.has_chat_template:
            return {**plain, "content": [_as_template_part(part) for part in parts]}
        return {**plain, "content": self._marked(message, parts)}

    def prompt(self, request: GenerationRequest) -> Prompt:
        prompt = super().prompt(request)
        if not has_media(prompt.request):
            return prompt
        size = prompt.request.image_size
        made = PicturePrompt(
            **{name: getattr(prompt, name) for name in Prompt.__struct_fields__},
            text=self.read(prompt.request)[0],
        )
        for i, message in enumerate(prompt.request.messages):
            param = f"messages[{i}].content"
            for part in parts_of(message):
                if isinstance(part, ImagePart):
                    made.pictures.append(_opened(part, size, param))
                    made.digests.append(digest_of(part, size))
                elif isinstance(part, AudioPart):
                    if self.sounds and len(made.sounds) == self.sounds:
                        raise Unsupported("This model hears one sound a conversation.", param=param)
                    made.sounds.append(_heard(part, self.sampling_rate, self.sound_seconds, param))
                elif self.mark and self.mark in part.text:
                    raise BadRequest(
                        f"The text holds “{self.mark}”, which stands for a picture in this model;"
                        " leave it out.",
                        param=param,
                    )
        return made

    def alone(self) -> str:
        """The text of a prompt with nothing but one picture."""
        request = GenerationRequest(messages=[Message("user", [ImagePart()])])
        return self._text(request, request.messages)

    def room(self, prompt: Prompt) -> int:
        """How many tokens the answer may have, now that the prompt's are known."""
        return self._room(prompt.request, len(prompt.tokens))

    def _layout(self, request: GenerationRequest, text: str, tokens: list[int]) -> Layout:
        """With pictures, what is read is kept whole; a next turn finds it by its tokens."""
        if has_media(request):
            return [(len(tokens), "assistant")]
        return super()._layout(request, text, tokens)

    def _marked(self, message: Message, parts: list[Any]) -> str:
        """As one text, with mlx-vlm's marks for the pictures of this model."""
        count = sum(isinstance(part, ImagePart) for part in parts)
        sounds = sum(isinstance(part, AudioPart) for part in parts)
        if self.takes_parts:
            return self.mark * count + message.text
        made = get_message_json(
            self.model_type,
            message.text,
            message.role,
            skip_image_token=not count,
            skip_audio_token=not sounds,
            num_images=count,
            num_audios=sounds,
        )
        return str(made["content"] if isinstance(made, dict) else made)


def has_media(request: GenerationRequest) -> bool:
    return any(
        not isinstance(part, TextPart)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def digest_of(part: ImagePart, size: list[int]) -> bytes:
    return hashlib.sha256(repr(size).encode() + part.data).digest()


def _as_template_part(part: TextPart | ImagePart | AudioPart) -> dict[str, str]:
    if isinstance(part, TextPart):
        # Templates read the one or the other.
        return {"type": "text", "text": part.text, "content": part.text}
    return {"type": "image" if isinstance(part, ImagePart) else "audio"}


def _opened(part: ImagePart, size: list[int], param: str) -> Any:
    """The picture as people see it: turned as its file says, without transparency.

    Args:
        size: pixels, [side] or [height, width] of the box that it is made to fit; empty = its own.

    Raises BadRequest.
    """
    if not part.data:
        raise BadRequest("The image has no bytes: its address was not fetched.", param=param)
    try:
        image: Image.Image = Image.open(io.BytesIO(part.data))
        pixels = image.width * image.height
        if pixels <= MAX_PIXELS:
            image = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:
        raise BadRequest(f"The image cannot be read: {error}.", param=param) from None
    if pixels > MAX_PIXELS:
        raise BadRequest(
            f"The image has {pixels / 1e6:.0f} million pixels; at most {MAX_PIXELS // 10**6}"
            " million are accepted.",
            param=param,
        )
    if not size:
        return image
    ratio = min(size[-1] / image.width, size[0] / image.height)
    return image.resize((max(1, int(image.width * ratio)), max(1, int(image.height * ratio))))


def _heard(part: AudioPart, sampling_rate: int, most_seconds: float, param: str) -> Any:
    """Its samples: mono float32 at this rate in Hz. Raises BadRequest."""
    # Only few models hear, and these bring scipy, which takes a second.
    from mlxgui.engine.backends.hearing_clips import RATE, Clip
    from mlxgui.engine.backends.resampling import resampled

    pieces: list[Any] = []
    try:
        for start, samples in Clip(part.data).windows():
            pieces.append(samples)
            if start + len(samples) / RATE > most_seconds + LAST_SOUND_SECONDS:
                raise BadRequest(
                    f"The sound is too long: this model hears {most_seconds:g} seconds of one."
                )
    except BadRequest as error:
        raise BadRequest(error.message, param=param) from None
    if not pieces:
        raise BadRequest("There is no sound in the file.", param=param)
    return resampled(np.concatenate(pieces), RATE, sampling_rate)
