"""Which grammar a request's answer must follow: its own constraint, its tool choice, or both."""

import logging
import threading
from typing import Any

from msgspec import structs

from mlxgui.engine.backends.grammar import Compiled, Grammars, Thinking
from mlxgui.engine.backends.tool_grammar import tool_constraint
from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import GenerationRequest

log = logging.getLogger("worker.constraints")

PARAM = "response_format"


class Constraints:
    """Args:
    tokenizer: mlx-lm's TokenizerWrapper.
    vocabulary: width of the logits.
    eos: every token that ends the turn.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, eos: list[int]) -> None:
        self.tokenizer = tokenizer
        self.grammars = Grammars(tokenizer, vocabulary, eos)

    def warm_up(self) -> None:
        """Make the vocabulary's tables in the background: the first request that is constrained
        need not wait for them."""

        def warm() -> None:
            try:
                self.grammars.warm()
            except Exception as error:
                log.warning("the grammars' tables could not be made: %s", error)

        threading.Thread(target=warm, name="grammars", daemon=True).start()

    def shown(self, request: GenerationRequest) -> GenerationRequest:
        """The request as the template shall see it. Raises Unsupported for tools in vain."""
        if request.tool_choice == "none" and request.tools:
            return structs.replace(request, tools=[])
        if request.tools and not self.tokenizer.has_tool_calling:
            raise Unsupported(
                "This model's chat template does not know tools; leave them out.", param="tools"
            )
        return request

    def compiled(self, request: GenerationRequest) -> Compiled | None:
        """None: every token may come. Raises BadRequest, Unsupported, naming the field."""
        choice, own = request.tool_choice, request.constraint
        if choice not in ("auto", "none"):
            if own is not None:
                raise BadRequest(
                    "An answer that must be a call cannot have a response_format too.", param=PARAM
                )
            return self._calls(request, choice)
        if own is None:
            return None
        if request.tools:
            return self._calls(request, "auto")
        return self.grammars.compile(own, param=PARAM)

    def _calls(self, request: GenerationRequest, choice: str) -> Compiled:
        grammar = tool_constraint(
            self.grammars,
            self.tokenizer,
            request.tools,
            choice,
            parallel=request.parallel_tool_calls,
            otherwise=request.constraint,
        )
        return self.grammars.compile(grammar, param="tool_choice")

    def thinking(self, request: GenerationRequest, starts_in_thinking: bool) -> Thinking:
        """Whether a thought may come before what the grammar describes."""
        if starts_in_thinking:
            return "open"
        may = self.tokenizer.has_thinking and request.enable_thinking is not False
        return "may" if may and request.messages else "none"
