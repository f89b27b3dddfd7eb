"""From a prompt to its choices: how each is drawn, split into events and ended."""

from functools import partial
from typing import Any

from mlx_lm.generate import TextStateMachine
from msgspec import structs

from mlxgui.engine.backends import sampling
from mlxgui.engine.backends.constraints import Constraints
from mlxgui.engine.backends.drawing import RowPlan
from mlxgui.engine.backends.prompts import Prompt, as_template_tool
from mlxgui.engine.backends.raw_text import RawText
from mlxgui.engine.backends.rows import Choice
from mlxgui.engine.backends.stops import machine_with_stops, raw_machine
from mlxgui.engine.backends.thinking import ThinkingBudget
from mlxgui.engine.output.splitter import Splitter

MACHINES_KEPT = 64


class ChoiceMaker:
    """Args:
    tokenizer: mlx-lm's TokenizerWrapper.
    vocabulary: width of the logits.
    eos: token sequences that end a turn.
    constraints: the grammars of this model.
    """

    def __init__(
        self, tokenizer: Any, vocabulary: int, eos: list[list[int]], constraints: Constraints
    ) -> None:
        self.constraints = constraints
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.eos = eos
        self._machines: dict[tuple[str, ...], TextStateMachine] = {}

    def make(self, prompt: Prompt, index: int) -> Choice:
        request = prompt.request
        chosen = request.sampling
        if chosen.seed is not None and index:
            chosen = structs.replace(chosen, seed=chosen.seed + index)
        plan = RowPlan(
            chosen,
            self.vocabulary,
            logprobs=request.logprobs,
            draft=request.draft_path,
            draft_tokens=request.draft_tokens,
        )
        plan.processors = sampling.processors_for(chosen)
        if least := _least_tokens(prompt):
            ends = [token for sequence in self.eos for token in sequence]
            position = partial(getattr, plan, "position")
            plan.processors.append(sampling.not_before(ends, least, position))
        if prompt.grammar is not None:
            thinking = self.constraints.thinking(request, prompt.starts_in_thinking)
            plan.matcher = prompt.grammar.matcher(thinking)
        if request.thinking_budget and self.tokenizer.has_thinking:
            plan.matcher = ThinkingBudget(
                request.thinking_budget,
                tuple(self.tokenizer.think_start_tokens),
                tuple(self.tokenizer.think_end_tokens),
                is_open=prompt.starts_in_thinking,
                inner=plan.matcher,
            )
        reader = self.tokenizer.detokenizer if request.messages else RawText(self.tokenizer)
        return Choice(index, plan, self._splitter(prompt, index), reader)

    def _splitter(self, prompt: Prompt, index: int) -> Splitter:
        request = prompt.request
        stop = tuple(sorted(set(request.stop)))
        initial = "reasoning" if prompt.starts_in_thinking else "normal"
        if request.messages and self.tokenizer.response_initial_state:
            initial = self.tokenizer.response_initial_state
        return Splitter(
            self._machine(stop) if request.messages else raw_machine(stop),
            initial=initial,
            stop=list(stop),
            tool_parser=self.tokenizer.tool_parser,
            tools=[as_template_tool(tool) for tool in request.tools],
            markers=(self.tokenizer.tool_call_start or "", self.tokenizer.tool_call_end or ""),
            max_calls=0 if request.parallel_tool_calls else 1,
            index=index,
        )

    def _machine(self, stop: tuple[str, ...]) -> TextStateMachine:
        if stop not in self._machines:
            if len(self._machines) >= MACHINES_KEPT:
                self._machines.clear()
            self._machines[stop] = machine_with_stops(self.tokenizer, stop)
        return self._machines[stop]


def _least_tokens(prompt: Prompt) -> int:
    """Tokens before the turn may end. Under a grammar an end that is to be ignored is put off for
    as long as anything else fits; behind the last word of a grammar nothing does."""
    if prompt.grammar is not None and prompt.request.ignore_eos:
        return prompt.max_tokens
    return prompt.request.min_tokens
