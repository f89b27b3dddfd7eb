"""What every dialect needs at its door: a body decoded, with the field's name on error."""

import re
from typing import Any

import msgspec

from mlxgui.engine.errors import BadRequest

_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def decode[T](decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Raises BadRequest whose `param` is the field's path, such as `messages[0].role`."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        found = _PATH.search(text)
        path = found["path"].replace("[...]", "") if found else None
        raise BadRequest(_PATH.sub("", text) + _where(path), param=path or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None


def _where(path: str | None) -> str:
    return f" for “{path}”." if path else "."


def unknown_fields(body: bytes, known: frozenset[str]) -> list[str]:
    """Top-level names that the dialect does not know, sorted."""
    names = _names.decode(body)
    return sorted(name for name in names if name not in known)


_names: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


def struct_fields(struct: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(struct))


def stop_list(stop: str | list[str] | None, *, most: int = 16) -> list[str]:
    """One string, a list or nothing, as a list of non-empty strings."""
    stops = [stop] if isinstance(stop, str) else list(stop or [])
    if len(stops) > most:
        raise BadRequest(f"At most {most} stop strings are allowed.", param="stop")
    if any(not text for text in stops):
        raise BadRequest("A stop string must not be empty.", param="stop")
    return stops


def token_biases(biases: dict[Any, float] | None) -> dict[int, float]:
    """Keys are token ids, as JSON has them: strings."""
    try:
        return {int(token): float(bias) for token, bias in (biases or {}).items()}
    except ValueError:
        raise BadRequest("logit_bias maps token ids to numbers.", param="logit_bias") from None
