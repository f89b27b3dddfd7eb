"""Responses that are kept, so that a client can ask for one again or go on from it.

Bounded in age, in number and in bytes: what is oldest goes first.
"""

from datetime import timedelta
from typing import Any

import msgspec
from django.db import models
from django.utils import timezone

from mlxgui.engine.errors import BadRequest, NotFound
from mlxgui.wire.responses_body import ItemIn

KEPT_DAYS = 30
MOST_RESPONSES = 1024
MOST_BYTES = 256 << 20
LONGEST_CHAIN = 512

_items = msgspec.json.Decoder(list[ItemIn])


class StoredQuerySet(models.QuerySet["StoredResponse"]):
    def find(self, id: str) -> "StoredResponse":
        """Raises NotFound."""
        row = self.filter(pk=id, created_at__gt=timezone.now() - timedelta(days=KEPT_DAYS)).first()
        if row is None:
            raise NotFound(f"Response with id '{id}' not found.")
        return row

    def keep(self, response: dict[str, Any], given: list[ItemIn]) -> None:
        """Store it, or what became of it, and make room."""
        body, items = msgspec.json.encode(response), msgspec.json.encode(given)
        self.update_or_create(
            pk=response["id"],
            defaults={
                "previous_id": response["previous_response_id"] or "",
                "status": response["status"],
                "body": body,
                "items": items,
                "size_bytes": len(body) + len(items),
            },
        )
        self.prune()

    def prune(self) -> None:
        kept_bytes, gone = 0, []
        oldest = timezone.now() - timedelta(days=KEPT_DAYS)
        sizes = self.order_by("-created_at").values_list("pk", "size_bytes", "created_at")
        for count, (pk, size, created_at) in enumerate(sizes):
            kept_bytes += size
            if count >= MOST_RESPONSES or kept_bytes > MOST_BYTES or created_at < oldest:
                gone.append(pk)
        if gone:
            self.filter(pk__in=gone).delete()

    def history(self, id: str) -> list[ItemIn]:
        """The items of the whole conversation up to this response, oldest first. Raises
        BadRequest where a response of it is missing."""
        rows: list[StoredResponse] = []
        while id and len(rows) < LONGEST_CHAIN:
            try:
                rows.append(self.find(id))
            except NotFound as error:
                raise BadRequest(error.message, param="previous_response_id") from None
            id = rows[-1].previous_id
        return [item for row in reversed(rows) for item in (*row.given, *row.written)]

    def resolved(self, items: list[ItemIn]) -> list[ItemIn]:
        """References to stored items, replaced by what they refer to; others stay as they are."""
        return [self._item(item) if item.type == "item_reference" else item for item in items]

    def _item(self, reference: ItemIn) -> ItemIn:
        """An item's id holds that of its response."""
        middle = (reference.id or "").partition("_")[2]
        row = self.filter(pk=f"resp_{middle[:32]}").first()
        every = (*row.given, *row.written) if row else ()
        return next((item for item in every if item.id == reference.id), reference)


class StoredResponse(models.Model):
    id = models.CharField(max_length=64, primary_key=True)
    previous_id = models.CharField("response before it", max_length=200, blank=True)
    status = models.CharField(max_length=20)
    body = models.BinaryField("the response as JSON")
    items = models.BinaryField("what was asked, as JSON")
    size_bytes = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = StoredQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "stored response"

    def __str__(self) -> str:
        return self.id

    @property
    def response(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(bytes(self.body))
        return found

    @property
    def given(self) -> list[ItemIn]:
        """What was asked in this turn alone."""
        return _items.decode(bytes(self.items))

    @property
    def written(self) -> list[ItemIn]:
        """What was answered, as items that can be asked again."""
        return msgspec.convert(self.response["output"], list[ItemIn])


def with_ids(items: list[ItemIn], response_id: str) -> list[ItemIn]:
    """Each with an id of its own, as lists of items show them."""
    middle = response_id.removeprefix("resp_")
    prefixes = {
        "message": "msg",
        "reasoning": "rs",
        "function_call": "fc",
        "custom_tool_call": "ctc",
    }
    for i, item in enumerate(items):
        if not item.id:
            item.id = f"{prefixes.get(item.type, 'item')}_{middle}i{i:03d}"
        if not item.status and item.type != "reasoning":
            item.status = "completed"
    return items
