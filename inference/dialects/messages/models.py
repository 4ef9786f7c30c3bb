"""Models as Anthropic's API lists them (WIRE_APIS 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inference.refusals import invalid

ModelEntry = dict[str, Any]

#: Entries of a page, where the client does not say and at most.
DEFAULT_LIMIT = 20
MOST_LIMIT = 1000


def entry(model_id: str, *, created_s: int, limit: Mapping[str, int] | None) -> ModelEntry:
    """One model. `limit` is None for a model that is loaded nowhere: nobody knows yet what it takes."""
    return {
        "type": "model",
        "id": model_id,
        "display_name": model_id,
        "created_at": f"{datetime.fromtimestamp(created_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "lifecycle": "active",
        "max_input_tokens": limit["input"] if limit else None,
        "max_tokens": limit["output"] if limit else None,
        "capabilities": None,
    }


def page(model_ids: Sequence[str], query: Mapping[str, Sequence[str]]) -> tuple[Sequence[str], bool]:
    """The ids that a query asks for, and whether there are more that way. Raises Refusal (400).

    `after_id` asks for those that follow a model, `before_id` for the last ones before it.
    """
    limit, after, before = _limit(query), _place("after_id", model_ids, query), _place("before_id", model_ids, query)
    if before is not None:
        return model_ids[max(0, before - limit) : before], before > limit
    rest = model_ids if after is None else model_ids[after + 1 :]
    return rest[:limit], len(rest) > limit


def listing(entries: Sequence[ModelEntry], *, has_more: bool) -> dict[str, Any]:
    ids = [one["id"] for one in entries]
    return {
        "data": entries,
        "has_more": has_more,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }


def _limit(query: Mapping[str, Sequence[str]]) -> int:
    stated = query.get("limit", [str(DEFAULT_LIMIT)])[-1]
    if not (stated.isascii() and stated.isdecimal() and len(stated) <= 4 and 1 <= int(stated) <= MOST_LIMIT):
        raise invalid(f"The parameter `limit` must be 1 to {MOST_LIMIT}.", "limit")
    return int(stated)


def _place(name: str, model_ids: Sequence[str], query: Mapping[str, Sequence[str]]) -> int | None:
    if name not in query:
        return None
    if query[name][-1] not in model_ids:
        raise invalid(f"The parameter `{name}` names no model that is listed here.", name)
    return model_ids.index(query[name][-1])
