"""What of a response is stored, and how items are found in it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from inference.dialects.responses.output import item_id

_encode = msgspec.json.Encoder().encode
_items = msgspec.json.Decoder(list[msgspec.Raw])

#: Input items are numbered from here, output items from 0: no two of a response have the same id.
FIRST_INPUT = 0x800000

_RESPONSE_ID = re.compile(r"resp_([0-9a-f]{32})")
_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32})[0-9a-f]{6}")
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}


class _Output(msgspec.Struct):
    output: list[msgspec.Raw] = []


class _Named(msgspec.Struct):
    id: str | None = None


_output = msgspec.json.Decoder(_Output)
_named = msgspec.json.Decoder(_Named)


def response_uuid(response_id: str) -> UUID | None:
    """The key of a response by its id; None for what is no id of ours."""
    found = _RESPONSE_ID.fullmatch(response_id)
    return UUID(hex=found[1]) if found else None


def owner_of(item_id: str) -> UUID | None:
    """The key of the response that an item belongs to, by the item's id."""
    found = _ITEM_ID.fullmatch(item_id)
    return UUID(hex=found[1]) if found else None


def input_items(items: Iterable[Mapping[str, Any]], digits: str) -> bytes:
    """The input items as they are listed later: each has a type and an id of its own, and messages have parts."""
    listed: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(items, FIRST_INPUT):
        made = _item(item, digits, number)
        if made["id"] in listed:  # pages are turned by id: they would turn back to the first of that name
            made["id"] = _new_id(made["type"], digits, number)
        listed[made["id"]] = made
    return _encode(list(listed.values()))


def _new_id(kind: str, digits: str, number: int) -> str:
    return item_id(_PREFIXES.get(kind, "item"), digits, number)


def _item(item: Mapping[str, Any], digits: str, number: int) -> dict[str, Any]:
    kind = item.get("type") or "message"
    whole = {**item, "type": kind, "id": item.get("id") or _new_id(kind, digits, number)}
    if kind != "message":
        return whole
    content = item.get("content") or ""
    if isinstance(content, str):
        said = item.get("role") == "assistant"
        part = {"type": "output_text" if said else "input_text", "text": content}
        whole["content"] = [{**part, "annotations": []} if said else part]
    return {"status": "completed", **whole}


def items_of(stored_input: bytes, response: bytes) -> list[msgspec.Raw]:
    """All items of a stored response in order, what came in and what came out."""
    return [*_items.decode(stored_input), *_output.decode(response).output]


def by_id(items: Sequence[msgspec.Raw]) -> dict[str, msgspec.Raw]:
    return {id_: item for item in items if (id_ := _named.decode(item).id)}


def page_of(stored_input: bytes, *, limit: int, newest_first: bool, after: str | None) -> bytes | None:
    """The body of one page of input items; None where there is no item `after` that could be one of these."""
    items = _items.decode(stored_input)
    if newest_first:
        items.reverse()
    ids = [_named.decode(item).id or "" for item in items]
    start = 0
    if after is not None:
        if after not in ids:
            return None
        start = ids.index(after) + 1
    page = slice(start, start + limit)
    return _encode(
        {
            "object": "list",
            "data": items[page],
            "first_id": ids[page][0] if ids[page] else None,
            "last_id": ids[page][-1] if ids[page] else None,
            "has_more": start + limit < len(items),
        }
    )
