"""Long lists, newest first: a page ends with the address of the next, which costs the same however far one goes."""

from __future__ import annotations

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

#: Digits of the largest bigint, less one.
MOST_DIGITS = 18


class NewestFirst(CursorPagination):
    """Keyset paging by id: `?limit=` rows, then `next` and `previous`."""

    ordering = "-id"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000

    def decode_cursor(self, request: Request) -> Cursor | None:
        cursor = super().decode_cursor(request)
        position = str(cursor.position) if cursor and cursor.position is not None else None
        if position is not None and not (position.isdecimal() and len(position) <= MOST_DIGITS):
            raise ValidationError({"cursor": "This is no cursor of this list; take `next` of its last page."})
        return cursor
