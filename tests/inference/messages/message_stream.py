"""A strict reader of a Messages stream: it puts the message together and accepts nothing that WIRE_APIS 4.3 forbids."""

from __future__ import annotations

import json
from typing import Any

#: By the type of a block: its delta, and the field of the block and of the delta that it grows.
_GROWS = {
    "text": ("text_delta", "text", "text"),
    "thinking": ("thinking_delta", "thinking", "thinking"),
    "tool_use": ("input_json_delta", "input", "partial_json"),
}


def events(stream: bytes) -> list[dict[str, Any]]:
    """The data of each event, after checking that it has the name its type says, and an empty line behind it."""
    read = []
    for frame in stream.decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        read.append(event)
    assert stream.endswith(b"\n\n")
    return read


def message_of(stream: bytes) -> dict[str, Any]:
    """The message that a complete stream comes to; what calls were given stays text, under `input`."""
    first, *between, end, last = [event for event in events(stream) if event["type"] != "ping"]
    message: dict[str, Any] = first["message"]
    assert (first["type"], end["type"], last["type"]) == ("message_start", "message_delta", "message_stop")
    assert (message["content"], message["stop_reason"]) == ([], None)
    is_open = False
    for event in between:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(message["content"])
            message["content"].append(_begun(event["content_block"]))
            is_open = True
            continue
        assert is_open
        assert event["index"] == len(message["content"]) - 1
        if event["type"] == "content_block_stop":
            is_open = False
        else:
            _grow(message["content"][-1], event["delta"])
    assert not is_open
    return {**message, **end["delta"], "usage": {**message["usage"], **end["usage"]}}


def _begun(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] == "tool_use":
        assert block["input"] == {}
        return {**block, "input": ""}
    assert block[block["type"]] == ""
    return block


def _grow(block: dict[str, Any], delta: dict[str, str]) -> None:
    delta_type, field, piece = _GROWS[block["type"]]
    if delta["type"] == "signature_delta":
        assert block["type"] == "thinking"
        block["signature"] = delta["signature"]
        return
    assert delta["type"] == delta_type
    assert not block.get("signature"), "a signature is the last of its block"
    block[field] += delta[piece]
