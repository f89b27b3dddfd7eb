"""Whether an answer has the keys and types of a documented example."""

from typing import Any


def differences(example: Any, answer: Any, where: str = "") -> list[str]:
    """What the answer lacks, or has as another type. Further keys are welcome.

    A documented null may be anything; a documented time may be null, before anything has happened.
    """
    if example is None:
        return []
    if isinstance(example, dict):
        if not isinstance(answer, dict):
            return [f"{where or 'answer'} is {type(answer).__name__}"]
        missing = [f"{where}.{key} is missing" for key in example if key not in answer]
        return missing + [
            one
            for key in example
            if key in answer
            for one in differences(example[key], answer[key], f"{where}.{key}")
        ]
    if isinstance(example, list):
        if not isinstance(answer, list):
            return [f"{where} is {type(answer).__name__}"]
        return [one for item in answer[:1] for one in differences(example[0], item, f"{where}[0]")]
    if answer is None and where.endswith(("_at", ".last_used")):
        return []
    return [] if same_type(example, answer) else [f"{where} is {answer!r}, not like {example!r}"]


def same_type(example: Any, answer: Any) -> bool:
    """JSON's types: whole and broken numbers are one, true and false are another."""
    if isinstance(example, bool) or isinstance(answer, bool):
        return type(example) is type(answer)
    if isinstance(example, int | float):
        return isinstance(answer, int | float)
    return type(example) is type(answer)
