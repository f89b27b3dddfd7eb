"""What goes wrong with the hub, in words that say what to do: for downloads and discovery."""

import errno
from typing import Any, Literal, NamedTuple

WITHOUT_HUB = "Check the network and try again; models that are here already need no hub."
TOKEN_WAY_OUT = (
    "make a token at huggingface.co/settings/tokens and put it into the setting huggingface_token"
)
Code = Literal["missing", "gated", "token", "rate_limit", "offline", "disk", "hub", "unknown"]


class Trouble(NamedTuple):
    code: Code
    message: str
    passing: bool = False
    """Whether it is worth another try in a while."""
    retry_after_seconds: int = 0


def explain(error: BaseException, repository: str = "") -> Trouble:
    """Any error of huggingface_hub, of the network or of the disk."""
    from huggingface_hub import errors

    where = f"“{repository}”" if repository else "this"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return Trouble("offline", "HF_HUB_OFFLINE is set, so the hub is not asked. Unset it first.")
    if isinstance(error, errors.GatedRepoError):
        return _gated(where, repository)
    if isinstance(error, errors.RevisionNotFoundError):
        return Trouble("missing", f"{where} has no such revision on the hub. Check its name.")
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return _missing(where)
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return Trouble("missing", f"A file of {where} is no longer on the hub. Try again.")
    if isinstance(error, errors.HfHubHTTPError):
        return _by_status(error, where, repository)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Trouble("disk", "The disk is full. Make room, then try again: it goes on from here.")
    if _is_network(error):
        text = f"The hub cannot be reached ({_short(error)}). {WITHOUT_HUB}"
        return Trouble("offline", text, passing=True)
    return Trouble("unknown", f"{type(error).__name__}: {_short(error)}")


def _gated(where: str, repository: str) -> Trouble:
    page = f"huggingface.co/{repository}" if repository else "its page"
    return Trouble(
        "gated",
        f"{where} is gated: its owners want their terms accepted first. Open {page}, accept them, "
        f"then {TOKEN_WAY_OUT}.",
    )


def _missing(where: str) -> Trouble:
    return Trouble(
        "missing",
        f"{where} is not on the hub, or it is private. Check the name (author/model); for a "
        f"private one {TOKEN_WAY_OUT}.",
    )


def _by_status(error: Any, where: str, repository: str) -> Trouble:
    status = error.response.status_code
    if status == 401:
        return Trouble("token", f"The hub does not accept the token. To go on, {TOKEN_WAY_OUT}.")
    if status == 403:
        return _gated(where, repository)
    if status == 404:
        return _missing(where)
    if status == 429:
        seconds = _wait_seconds(error.response.headers)
        text = f"The hub limits how often it is asked. Try again in {seconds} seconds"
        text += "; with a token the limit is higher (the setting huggingface_token)."
        return Trouble("rate_limit", text, True, seconds)
    text = f"The hub answered with status {status}. Try again later."
    return Trouble("hub", text, passing=status in (408, 416) or status >= 500)


def _wait_seconds(headers: Any) -> int:
    from huggingface_hub.utils import parse_ratelimit_headers

    if (limit := parse_ratelimit_headers(headers)) is not None:
        return int(limit.reset_in_seconds)
    text = headers.get("Retry-After", "")
    return min(int(text), 3600) if text.isdigit() else 60


def _is_network(error: BaseException) -> bool:
    import httpx2

    cut_short = isinstance(error, OSError) and "Consistency check failed" in str(error)
    return isinstance(error, httpx2.TransportError | ConnectionError | TimeoutError) or cut_short


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
