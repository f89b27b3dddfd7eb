"""What every dialect needs at its door: a body decoded, with the field's name on error."""

import re
from typing import Any

import msgspec

from mlxgui.engine.errors import BadRequest
from mlxgui.wire.limits import check_depth

_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def decode[T](decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Raises BadRequest whose `param` is the field's path, such as `messages[0].role`."""
    check_depth(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise located(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None


def located(error: msgspec.ValidationError) -> BadRequest:
    """What is wrong, and at which field."""
    text = str(error)
    found = _PATH.search(text)
    path = found["path"].replace("[...]", "") if found else None
    return BadRequest(_PATH.sub("", text) + _where(path), param=path or None)


def _where(path: str | None) -> str:
    return f" for “{path}”." if path else "."


def unknown_fields(body: bytes, known: frozenset[str]) -> list[str]:
    """Top-level names that the dialect does not know, sorted."""
    names = _names.decode(body)
    return sorted(name for name in names if name not in known)


_names: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


def struct_fields(struct: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(struct))


def chosen(**values: Any) -> dict[str, Any]:
    """Only what was given."""
    return {name: value for name, value in values.items() if value is not None}


def stop_list(stop: str | list[str] | None, *, most: int = 16, param: str = "stop") -> list[str]:
    """One string, a list or nothing, as a list of non-empty strings."""
    stops = [stop] if isinstance(stop, str) else list(stop or [])
    if len(stops) > most:
        raise BadRequest(f"At most {most} stop strings are allowed.", param=param)
    if any(not text for text in stops):
        raise BadRequest("A stop string must not be empty.", param=param)
    return stops


def token_biases(biases: dict[Any, float] | None) -> dict[int, float]:
    """Keys are token ids, as JSON has them: strings."""
    try:
        return {int(token): float(bias) for token, bias in (biases or {}).items()}
    except ValueError:
        raise BadRequest("logit_bias maps token ids to numbers.", param="logit_bias") from None


_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?P<sign>-?)(?P<parts>(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+)")
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds_of(value: float | str | None, *, param: str = "keep_alive") -> float | None:
    """How long a model is kept, as Ollama writes it: seconds as a number, or “5m”, “1h30m”, “-1”.

    None stays None; negative means for ever. Raises BadRequest naming `param`.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        raise BadRequest(_not_a_duration(param), param=param)
    if isinstance(value, int | float):
        return float(value)
    text = value.strip().lower()
    if _PLAIN.fullmatch(text):
        return float(text)
    if (found := _DURATION.fullmatch(text)) is None:
        raise BadRequest(_not_a_duration(param), param=param)
    pieces = _PIECE.findall(found["parts"])
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in pieces)
    return -seconds if found["sign"] else seconds


def _not_a_duration(param: str) -> str:
    return f"{param} must be a number of seconds or a time such as “5m” or “1h”; -1 keeps for ever."
