"""A response as its events told it so far: for whoever has to end one that nobody works on any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Replay:
    """`object` is the response object, None before `response.created`; `next_number` is that of its next event."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        self.object: dict[str, Any] | None = None
        self.next_number = 0
        self._items: dict[int, dict[str, Any]] = {}
        for frame in frames:
            self._take(_decode(frame.partition(b"\ndata: ")[2]))

    def _take(self, event: dict[str, Any]) -> None:
        self.next_number = event["sequence_number"] + 1
        kind = event["type"]
        if "response" in event:
            self.object = event["response"]
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._items[event["output_index"]] = event["item"]
        elif kind in ("response.content_part.added", "response.reasoning_summary_part.added"):
            self._parts(event).append(event["part"])
        elif kind.endswith(".delta"):
            self._grow(self._items[event["output_index"]], event)

    def _parts(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        item = self._items[event["output_index"]]
        parts: list[dict[str, Any]] = item["summary" if "summary_index" in event else "content"]
        return parts

    def _grow(self, item: dict[str, Any], event: dict[str, Any]) -> None:
        if item["type"] == "function_call":
            item["arguments"] += event["delta"]
        elif item["type"] == "custom_tool_call":
            item["input"] += event["delta"]
        else:
            part = self._parts(event)[-1]
            part["text"] += event["delta"]
            part.get("logprobs", []).extend(event.get("logprobs", []))

    def fail(self, message: str, fallback: dict[str, Any]) -> tuple[bytes, list[bytes]]:
        """The response object that failed, encoded, and its last events; from `fallback` where no event is left."""
        items = [self._items[index] for index in sorted(self._items)]
        for item in items:
            if item["status"] == "in_progress":
                item["status"] = "incomplete"
        error = {"code": "server_error", "message": message}
        failed = {**(self.object or fallback), "status": "failed", "output": items, "error": error}
        told = {"message": message, "param": None, "code": None}
        events: list[tuple[str, dict[str, Any]]] = [
            ("error", {**told, "error": {"type": "server_error", **told}}),
            ("response.failed", {"response": failed}),
        ]
        return _encode(failed), [self._frame(kind, fields) for kind, fields in events]

    def _frame(self, kind: str, fields: dict[str, Any]) -> bytes:
        data = _encode({"type": kind, "sequence_number": self.next_number, **fields})
        self.next_number += 1
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
