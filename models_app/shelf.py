"""Which part of the library a page shows: a filter, and one page of what it leaves."""

from collections.abc import Iterable
from typing import Any, Self
from urllib.parse import urlencode

from django.db.models import Case, Q, QuerySet, Value, When
from django.http import QueryDict
from msgspec import Struct, structs

from mlxgui.engine.backends import MODULES
from models_app.models import Kind, Model

PER_PAGE = 50
KINDS = {"": "Any kind", **{str(value): str(words) for value, words in Kind.choices[:-1]}}
STATES = {"": "All", "loaded": "In memory", "broken": "Cannot be loaded"}
FEW = 10
"""So many models are seen at a glance, without a filter."""


class Shelf(Struct, frozen=True):
    query: str = ""
    kind: str = ""
    state: str = ""
    page: int = 1

    @classmethod
    def of(cls, given: QueryDict) -> Self:
        """What makes no sense is as if it were not chosen."""
        page = given.get("page", "1")
        return cls(
            query=given.get("query", "").strip()[:200],
            kind=given.get("kind", "") if given.get("kind") in KINDS else "",
            state=given.get("state", "") if given.get("state") in STATES else "",
            page=int(page) if page.isascii() and page.isdigit() and 0 < len(page) < 6 else 1,
        )

    @property
    def address(self) -> str:
        """As the part of an address behind the question mark; empty where nothing was chosen."""
        chosen = {name: value for name, value in structs.asdict(self).items() if value}
        if self.page == 1:
            del chosen["page"]
        return urlencode(chosen)

    def at(self, page: int) -> str:
        return structs.replace(self, page=page).address

    @property
    def is_filtered(self) -> bool:
        return bool(self.query or self.kind or self.state)

    def rows(self, in_memory: Iterable[str]) -> "QuerySet[Model]":
        """Those that can be used come first. `in_memory`: folders of the loaded models."""
        rows = Model.objects.all()
        if self.query:
            named = Q(name__icontains=self.query) | Q(huggingface_id__icontains=self.query)
            rows = rows.filter(named | Q(architecture__icontains=self.query))
        if self.kind:
            rows = rows.filter(kind=self.kind)
        if self.state == "loaded":
            rows = rows.filter(path__in=list(in_memory))
        if self.state == "broken":
            rows = rows.exclude(error_message="")
        able = When(error_message="", kind__in=MODULES, then=Value(0))
        return rows.order_by(Case(able, default=Value(1)), "name")


def part(shelf: Shelf, in_memory: Iterable[str]) -> dict[str, Any]:
    """Blocking; three queries. The page's rows, and what a template says about the others."""
    rows = shelf.rows(in_memory)
    found = rows.count()
    pages = max(1, -(-found // PER_PAGE))
    shelf = structs.replace(shelf, page=min(shelf.page, pages))
    start = (shelf.page - 1) * PER_PAGE
    return {
        "rows": list(rows[start : start + PER_PAGE]),
        "shelf": shelf,
        "found": found,
        "total": Model.objects.count(),
        "pages": pages,
        "before": shelf.at(shelf.page - 1) if shelf.page > 1 else None,
        "after": shelf.at(shelf.page + 1) if shelf.page < pages else None,
        "few": FEW,
        "kinds": KINDS,
        "states": STATES,
    }
