"""mlx-lm's text states for a tokenizer, with stop strings that end the text."""

from typing import Any

from mlx_lm.generate import TextStateMachine, make_text_state_machine


def raw_machine(stop: tuple[str, ...]) -> TextStateMachine:
    """For text that goes on from a prompt: whatever a model writes is text, up to a stop string."""
    return TextStateMachine({"normal": [(text, None) for text in stop]})


def machine_with_stops(tokenizer: Any, stop: tuple[str, ...]) -> TextStateMachine:
    """mlx-lm's states for this tokenizer; a stop string leads to the end from each of them."""
    machine = make_text_state_machine(tokenizer)
    if not stop:
        return machine
    plain = make_text_state_machine(tokenizer, list(stop))
    # The library leads stop words back to their own state; `None` is its state for "ended".
    for state, (trie, targets) in plain._states.items():
        known = len(machine._states[state][1]) if state in machine._states else 0
        plain._states[state] = (trie, [*targets[:known], *([None] * (len(targets) - known))])
    return plain
