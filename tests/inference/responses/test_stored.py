"""What is listed of a stored response's input."""

from __future__ import annotations

import json
from typing import Any

from inference.dialects.responses.stored import input_items, page_of

DIGITS = "0" * 32


def pages(stored: bytes, *, limit: int) -> list[dict[str, Any]]:
    """All pages as a client turns them, one more than there can be at most."""
    turned: list[dict[str, Any]] = []
    after = None
    for _ in range(len(json.loads(stored)) + 1):
        page = page_of(stored, limit=limit, newest_first=False, after=after)
        assert page is not None
        turned.append(json.loads(page))
        after = turned[-1]["last_id"]
        if not turned[-1]["has_more"]:
            break
    return turned


def test_items_that_came_under_one_id_are_listed_once_each() -> None:
    said = [{"role": "user", "content": f"{number}", "id": "msg_same"} for number in range(4)]
    listed = [item for page in pages(input_items(said, DIGITS), limit=1) for item in page["data"]]
    assert [item["content"][0]["text"] for item in listed] == ["0", "1", "2", "3"]
    assert listed[0]["id"] == "msg_same"
    assert len({item["id"] for item in listed}) == 4
