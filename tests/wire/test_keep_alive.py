import pytest

from mlxgui.engine.errors import BadRequest
from mlxgui.wire import openai_chat
from mlxgui.wire.fields import seconds_of


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), (300, 300.0), (0, 0.0), (-1, -1.0), (1.5, 1.5), ("5m", 300.0), ("1h", 3600.0),
     ("1h30m", 5400.0), ("24h", 86400.0), ("250ms", 0.25), ("30", 30.0), ("-1", -1.0),
     ("-1m", -60.0), (" 10S ", 10.0), ("2d", 172800.0)],
)  # fmt: skip
def test_a_time_is_a_number_of_seconds_or_as_ollama_writes_it(
    value: float | str | None, seconds: float | None
) -> None:
    assert seconds_of(value) == seconds


@pytest.mark.parametrize("value", ["", "soon", "5 m", "m", "1h-30m", "5w", True, "nan", "1e3"])
def test_anything_else_is_refused_by_its_name(value: str) -> None:
    with pytest.raises(BadRequest, match="keep_alive must be") as caught:
        seconds_of(value)
    assert caught.value.param == "keep_alive"


def test_the_chat_body_takes_it() -> None:
    body = b'{"messages": [{"role": "user", "content": "x"}], "keep_alive": "10m"}'
    assert openai_chat.parse(body).request.keep_alive_seconds == 600
    with pytest.raises(BadRequest) as caught:
        openai_chat.parse(body.replace(b"10m", b"later"))
    assert caught.value.param == "keep_alive"
