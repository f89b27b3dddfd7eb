"""Stored responses: found again, followed back, bounded."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat_app import stored
from chat_app.stored import StoredResponse, with_ids
from mlxgui.engine.errors import BadRequest, NotFound
from mlxgui.wire.responses_body import ItemIn

pytestmark = pytest.mark.django_db


def keep(number: int, previous: str | None = None, text: str = "x") -> str:
    id = f"resp_{number:032x}"
    item = {"id": f"msg_{number:032x}o000", "type": "message", "role": "assistant"}
    output: list[dict[str, Any]] = [{**item, "content": [{"type": "output_text", "text": "ok"}]}]
    response = {"id": id, "previous_response_id": previous, "status": "completed", "output": output}
    StoredResponse.objects.keep(response, with_ids([ItemIn(role="user", content=text)], id))
    return id


def test_a_conversation_is_followed_back_to_its_beginning() -> None:
    first = keep(1, text="one")
    second = keep(2, first, "two")
    roles = [item.role for item in StoredResponse.objects.history(second)]
    assert roles == ["user", "assistant", "user", "assistant"]
    with pytest.raises(BadRequest) as caught:
        StoredResponse.objects.history("resp_none")
    assert caught.value.param == "previous_response_id"


def test_an_item_is_found_by_its_own_id() -> None:
    id = keep(7)
    given = StoredResponse.objects.find(id).given[0]
    wanted = [ItemIn(type="item_reference", id=name) for name in (given.id, f"msg_{7:032x}o000")]
    asked, answered = StoredResponse.objects.resolved(wanted)
    assert (asked.content, answered.role) == ("x", "assistant")
    unknown = ItemIn(type="item_reference", id="msg_1")
    assert StoredResponse.objects.resolved([unknown]) == [unknown]


def test_the_oldest_go_when_there_are_too_many_or_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored, "MOST_RESPONSES", 3)
    ids = [keep(number) for number in range(5)]
    assert set(StoredResponse.objects.values_list("pk", flat=True)) == set(ids[2:])
    monkeypatch.setattr(stored, "MOST_BYTES", 5000)
    last = keep(9, text="y" * 4000)
    assert StoredResponse.objects.find(last)
    assert StoredResponse.objects.count() < 4


def test_what_is_too_old_is_not_found() -> None:
    id = keep(1)
    StoredResponse.objects.update(created_at=timezone.now() - timedelta(days=31))
    with pytest.raises(NotFound):
        StoredResponse.objects.find(id)
