import pytest

from mlxgui.engine.cache.normalise import normalise

HEADER = "x-anthropic-billing-header: cc_version=2.1.100.7b4; cc_entrypoint=cli; cch=eb6c6;"
PROMPT = "You are Claude Code, a tool for the command line.\n\nBe brief."


@pytest.mark.parametrize(
    "front",
    [
        HEADER + "\n",
        HEADER + "\n\n",
        HEADER + "\r\n",
        HEADER,  # joined to the next block without a break
        "\n" + HEADER + "\n",
        HEADER.upper() + "\n",
        "x-anthropic-billing-header: something new\n",
    ],
)
def test_the_billing_header_is_left_out_and_that_is_said(front: str) -> None:
    text, notes = normalise(front + PROMPT)
    assert text == PROMPT
    assert len(notes) == 1 and "billing header" in notes[0]


def test_two_requests_of_one_client_read_the_same() -> None:
    one, _ = normalise(f"{HEADER}\n{PROMPT}")
    two, _ = normalise(f"{HEADER.replace('eb6c6', '00f1d')}\n{PROMPT}")
    assert one == two


@pytest.mark.parametrize("text", ["", PROMPT, f"{PROMPT}\n{HEADER}", "x-anthropic-version: 1\nHi"])
def test_every_other_prompt_stays_as_it_is(text: str) -> None:
    assert normalise(text) == (text, [])
