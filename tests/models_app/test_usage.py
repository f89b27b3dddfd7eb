import asyncio
from collections import Counter

import pytest
from asgiref.sync import sync_to_async

from models_app import usage
from models_app.adapters import aspec_for
from models_app.models import Model
from tests.factories import make_model


@pytest.mark.django_db(transaction=True)
async def test_many_requests_of_a_moment_are_counted_once_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage, "WRITE_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(usage, "_counted", Counter())  # what earlier tests left unwritten
    one, two = await sync_to_async(make_model)("one"), await sync_to_async(make_model)("two")
    for model in (one, two, one, one):
        usage.count_use(model.pk)
    await asyncio.gather(*usage._writing)
    counts = [row async for row in Model.objects.values_list("name", "use_count").order_by("name")]
    assert counts == [("one", 3), ("two", 1)]
    assert (await Model.objects.aget(name="one")).last_used_at is not None


@pytest.mark.django_db(transaction=True)
async def test_a_spec_is_remembered_until_its_row_changes() -> None:
    model = await sync_to_async(make_model)("one", context_tokens=100)
    first = await aspec_for("one")
    assert (await aspec_for("one"))[1] is first[1]
    model.context_tokens = 200
    await model.asave()
    assert (await aspec_for("one"))[1].context_tokens == 200
