"""Which options of a request the loaded model honours, found by trying them on it.

One table says it to people (`GET /v1/models/{name}`) and refuses requests: no option that is known
is silently ignored. The names are those of the chat dialects; a test compares them with its body.
"""

from typing import Any

from mlxgui.engine.backends.constraints import Constraints
from mlxgui.engine.errors import EngineError, Unsupported
from mlxgui.engine.types import Constraint, GenerationRequest

ALWAYS = (
    "messages",
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "repetition_context_size",
    "presence_penalty",
    "presence_context_size",
    "frequency_penalty",
    "frequency_context_size",
    "logit_bias",
    "stop",
    "seed",
    "n",
    "logprobs",
    "top_logprobs",
    "min_tokens",
    "ignore_eos",
    "xtc_probability",
    "xtc_threshold",
    "priority",
    "keep_alive",
    "adapters",
    "adapter_path",
    "resize_shape",
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
)
NEVER = {"typical_p": "mlx-lm has no typical sampling; leave typical_p out."}
BY_MODEL = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "enable_thinking",
    "reasoning_effort",
    "thinking_budget",
    "role_mapping",
    "chat_template_kwargs",
    "draft_model",
    "num_draft_tokens",
)
NO_TOOLS = "This model's chat template does not know tools; leave {} out."
NO_THINKING = "This model does not think before it answers; leave {} out."
ALWAYS_THINKS = "This model's template cannot switch thinking off; leave {} out."
OWN_ROLES = "This model's chat template writes the roles itself; leave {} out."
NO_TEMPLATE = "This model has no chat template; leave {} out."
NO_DRAFT = "This model's cache cannot be cut back token by token, as drafting needs; leave {} out."


class Abilities:
    """Args:
    tokenizer: mlx-lm's TokenizerWrapper.
    can_draft: whether another model may draft for this one.
    """

    def __init__(self, tokenizer: Any, constraints: Constraints, *, can_draft: bool) -> None:
        self._constraints = constraints
        self._can_think = bool(tokenizer.has_thinking)
        self._can_switch = self._can_think and reads_switch(tokenizer)
        self._refused = dict(NEVER)
        if not tokenizer.has_tool_calling:
            self._refuse(NO_TOOLS, "tools", "tool_choice", "parallel_tool_calls")
        if not self._can_think:
            self._refuse(NO_THINKING, "enable_thinking", "reasoning_effort", "thinking_budget")
        if tokenizer.has_chat_template:
            self._refuse(OWN_ROLES, "role_mapping")
        else:
            self._refuse(NO_TEMPLATE, "chat_template_kwargs")
        if not can_draft:
            self._refuse(NO_DRAFT, "draft_model", "num_draft_tokens")

    def _refuse(self, reason: str, *names: str) -> None:
        self._refused |= {name: reason.format(name) for name in names}

    def table(self, *, tries_grammar: bool = True) -> dict[str, bool | str]:
        """For each option True, or in a sentence why it is refused. The first grammar takes time:
        1.3 s with a vocabulary of 150,000."""
        try:
            if tries_grammar:
                self._constraints.grammars.compile(Constraint("json_object"))
        except EngineError as error:
            self._refused["response_format"] = error.message
        table: dict[str, bool | str] = dict.fromkeys((*ALWAYS, *BY_MODEL, *NEVER), True)
        return table | self._refused

    def check(self, request: GenerationRequest) -> None:
        """Raises Unsupported, naming the option that this model does not honour."""
        for name in self._used(request):
            if why := self._refused.get(name):
                raise Unsupported(why, param=name)
        if request.enable_thinking is False and self._can_think and not self._can_switch:
            name = _thinking_option(request)
            raise Unsupported(ALWAYS_THINKS.format(name), param=name)

    def _used(self, request: GenerationRequest) -> list[str]:
        """Options that are asked for and change something; “do not think” always can be kept."""
        asked = {
            "tools": request.tools and request.tool_choice != "none",
            _thinking_option(request): request.enable_thinking,
            "parallel_tool_calls": not request.parallel_tool_calls,
            "thinking_budget": request.thinking_budget,
            "role_mapping": request.role_mapping,
            "chat_template_kwargs": request.template_kwargs.keys() - {"reasoning_effort"},
            "draft_model": request.draft_path,
            "num_draft_tokens": request.draft_tokens,
        }
        return [name for name, is_used in asked.items() if is_used]


def _thinking_option(request: GenerationRequest) -> str:
    return (
        "reasoning_effort" if "reasoning_effort" in request.template_kwargs else "enable_thinking"
    )


def reads_switch(tokenizer: Any) -> bool:
    """Whether the template writes something else when told not to think."""
    if not tokenizer.has_chat_template:
        return False
    question = [{"role": "user", "content": "?"}]
    try:
        with_it, without = (
            tokenizer.apply_chat_template(
                question, tokenize=False, add_generation_prompt=True, enable_thinking=thinks
            )
            for thinks in (True, False)
        )
    except Exception:  # a template may raise anything; what it refuses it does not know
        return False
    return bool(with_it != without)
