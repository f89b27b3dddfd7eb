"""What crosses between rooms: what to load, what to generate, what came out. Data only.

Every dialect parses into one `GenerationRequest` and encodes one stream of events. An event names
the `index` of the choice it belongs to (0 unless the request asked for `n` > 1).
"""

from typing import Any, Literal

from msgspec import Struct, field

from mlxgui.engine.tasks import AskedTask, Task, TaskEvent

FinishReason = Literal["stop", "length", "tool_calls"]


# -- what to generate -----------------------------------------------------------------------------


class TextPart(Struct, frozen=True, tag="text"):
    text: str


class ImagePart(Struct, frozen=True, tag="image", omit_defaults=True):
    """An image as its own bytes; its format is told from its content.

    `url` is set, and `data` empty, only until the door has fetched it.
    """

    data: bytes = b""
    url: str = ""


class AudioPart(Struct, frozen=True, tag="audio"):
    """A clip as the bytes of a file; its format is told from its content."""

    data: bytes


Part = TextPart | ImagePart | AudioPart


class ToolCallRecord(Struct, frozen=True, omit_defaults=True):
    """A call that an earlier assistant message made. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Message(Struct, frozen=True, omit_defaults=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] = ""
    name: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCallRecord] = []
    tool_call_id: str = ""

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class Tool(Struct, frozen=True, omit_defaults=True):
    """A function the model may call. `parameters` is its JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is drawn. The defaults are neutral: plain sampling at temperature 1."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    repetition_context_tokens: int = 20
    presence_penalty: float = 0.0
    presence_context_tokens: int = 20
    frequency_penalty: float = 0.0
    frequency_context_tokens: int = 20
    logit_bias: dict[int, float] = {}
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    seed: int | None = None


class Constraint(Struct, frozen=True, omit_defaults=True):
    """What the answer must be, token by token. `text` is the JSON Schema as JSON, the regular
    expression, or the Lark or EBNF grammar; empty for any JSON object."""

    kind: Literal["json_object", "json_schema", "regex", "grammar"]
    text: str = ""


class GenerationRequest(Task, frozen=True, kw_only=True, omit_defaults=True, tag="generate"):
    """One request, whatever dialect it came in. Exactly one of `messages`, `prompt` and
    `prompt_tokens` is given."""

    messages: list[Message] = []
    prompt: str = ""
    prompt_tokens: list[int] = []
    suffix: str = ""
    """What follows the gap that is to be filled behind `prompt`."""
    echo: bool = False
    """The prompt's own text comes before the answer, with its tokens' `logprobs` where asked."""
    read_only: bool = False
    """The prompt is read and nothing is written."""
    tools: list[Tool] = []
    tool_choice: str = "auto"
    """"auto", "none", "required", or the name of the one function to call."""
    parallel_tool_calls: bool = True
    constraint: Constraint | None = None
    sampling: Sampling = Sampling()
    n: int = 1
    """Choices; the prompt is prefilled once."""
    max_tokens: int = 0
    """0 = until the context is full."""
    may_end_early: bool = False
    """`max_tokens` is a default that nobody asked for: where less fits, less will do."""
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int = -1
    """Alternatives to report with each token; 0 = only the token itself; -1 = no report."""
    stop: list[str] = []
    template_kwargs: dict[str, Any] = {}
    enable_thinking: bool | None = None
    """None = as the template does by itself."""
    thinking_budget: int = 0
    """Tokens a thinking block may have before it is closed; 0 = no bound."""
    role_mapping: dict[str, str] = {}
    """Prefixes of the roles, for models without a chat template."""
    draft_path: str = ""
    """Folder of a model that drafts for this one; empty = as the model was loaded."""
    draft_tokens: int = 0
    """Tokens drafted at a time; 0 = as the model was loaded."""
    image_size: list[int] = []
    """Pixels: [side] or [height, width] of the box that images are made to fit; empty = as the
    model wants them."""
    drop_images: bool = False
    """A model that sees no images answers without them and warns; otherwise it refuses."""


Request = GenerationRequest | AskedTask


# -- what came out --------------------------------------------------------------------------------


class CacheUse(Struct, frozen=True, omit_defaults=True):
    """How far a prompt was reused, and why no further."""

    cached_tokens: int = 0
    tier: str = ""
    """"memory", "disk", or empty where nothing was reused."""
    reason: str = ""
    explanation: str = ""
    divergence: int = -1
    """Index of the first token that differs from the nearest known prompt; -1 = none does."""
    text: str = ""
    known_text: str = ""


class Started(Struct, frozen=True, tag="started", omit_defaults=True):
    """Comes before all text: the request was accepted. Every refusal happens before this event."""

    prompt_tokens: int
    cached_tokens: int = 0
    cache: CacheUse = CacheUse()


class Progress(Struct, frozen=True, tag="progress"):
    """Prefill so far, in prompt tokens."""

    processed_tokens: int
    total_tokens: int


class Text(Struct, frozen=True, tag="text", omit_defaults=True):
    text: str
    index: int = 0


class Thinking(Struct, frozen=True, tag="thinking", omit_defaults=True):
    text: str
    index: int = 0


class TokenProb(Struct, frozen=True, omit_defaults=True):
    """A token's text, id and natural log probability; the alternatives best first. NaN for a
    prompt's first token, which nothing foretells."""

    text: str
    id: int
    logprob: float
    alternatives: list["TokenProb"] = []


class Logprobs(Struct, frozen=True, tag="logprobs", omit_defaults=True):
    """Of the tokens whose text comes next; text may be held back, so the two are apart."""

    tokens: list[TokenProb]
    index: int = 0


class ToolCall(Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """A whole call, or the next piece of one: same `position`, `arguments` to be appended."""

    position: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    index: int = 0


class Alive(Struct, frozen=True, tag="alive"):
    """Nothing new for a while, but the request is being worked on."""


class Warned(Struct, frozen=True, tag="warned"):
    message: str


class Usage(Struct, frozen=True, omit_defaults=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    drafted_tokens: int = 0
    """Tokens that a draft model guessed."""
    accepted_tokens: int = 0
    """Of these, the ones that were right."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Timing(Struct, frozen=True, omit_defaults=True):
    """Seconds as the worker saw them: waiting for a place, prefill, first token to last."""

    queued_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    def tokens_per_second(self, completion_tokens: int) -> float:
        return completion_tokens / self.decode_seconds if self.decode_seconds > 0 else 0.0


class Finished(Struct, frozen=True, tag="finished", omit_defaults=True):
    """The end of one choice."""

    reason: FinishReason
    stop_text: str = ""
    """The stop string that ended it, when one did."""
    index: int = 0


class Done(Struct, frozen=True, tag="done", omit_defaults=True):
    """Always last, after the `Finished` of every choice."""

    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)


Event = (
    Started
    | Progress
    | Text
    | Thinking
    | Logprobs
    | ToolCall
    | Warned
    | Alive
    | Finished
    | TaskEvent
    | Done
)
