import pytest

from chat_app.prompt import CHAT_PRIORITY, request_for
from mlxgui.engine.types import Message as Turn
from models_app.models import Source
from tests.factories import make_conversation, make_message, make_model

pytestmark = pytest.mark.django_db


def test_the_request_holds_the_path_the_system_prompt_and_the_choices() -> None:
    model = make_model()
    conversation = make_conversation(
        "Hello",
        "Hi",
        "And now?",
        system_prompt="Be brief.",
        sampling={"temperature": 0.2, "top_p": 0.9, "max_tokens": 50, "seed": 7},
    )
    request = request_for(conversation, conversation.leaf, model)
    assert request.messages == [
        Turn(role="system", content="Be brief."),
        Turn(role="user", content="Hello"),
        Turn(role="assistant", content="Hi"),
        Turn(role="user", content="And now?"),
    ]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.2, 0.9, 7)
    assert (request.max_tokens, request.priority) == (50, CHAT_PRIORITY)


def test_other_branches_are_not_sent() -> None:
    conversation = make_conversation("Hello", "Hi")
    edited = conversation.edit(conversation.messages.get(content="Hello"), "Hey")
    request = request_for(conversation, edited, make_model())
    assert [turn.text for turn in request.messages] == ["Hey"]


def test_a_reply_that_failed_before_its_first_word_is_left_out() -> None:
    conversation = make_conversation("Hello")
    make_message(conversation, "", role="assistant", status="failed")
    make_message(conversation, "Are you there?")
    request = request_for(conversation, conversation.leaf, make_model())
    assert request.messages == [Turn(role="user", content="Hello\n\nAre you there?")]


def test_the_models_own_settings_hold_where_nothing_was_chosen() -> None:
    model = make_model(defaults={"temperature": 0.3, "top_k": 20, "system_prompt": "Be kind."})
    conversation = make_conversation("Hello", sampling={"temperature": 1.5})
    request = request_for(conversation, conversation.leaf, model)
    assert (request.sampling.temperature, request.sampling.top_k) == (1.5, 20)
    assert request.messages[0].text == "Be kind."


def test_the_starter_model_answers_without_chance() -> None:
    conversation = make_conversation("Hello")
    model = make_model(source=Source.STARTER)
    assert request_for(conversation, conversation.leaf, model).sampling.temperature == 0.0
