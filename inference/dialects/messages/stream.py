"""The answer of a Messages request: named server-sent events, or the message whole (WIRE_APIS 4.3)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inference.dialects.assembly import Assembly
from inference.dialects.dialect import Content
from inference.dialects.messages import errors
from inference.dialects.messages.answer import SIGNATURE, Ids, message, prompt_usage, stop, usage, whole
from inference.events import CallArguments, CallBegun, Ended, Finished, Reasoning, Started, Text
from inference.refusals import Refusal

_encode = msgspec.json.Encoder().encode

Kind = Literal["text", "thinking", "tool_use"]

_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
#: What a delta begins with, by the kind of its block.
_DELTA: dict[Kind, bytes] = {
    "text": b'{"type":"text_delta","text":',
    "thinking": b'{"type":"thinking_delta","thinking":',
    "tool_use": b'{"type":"input_json_delta","partial_json":',
}


class MessagesAnswer:
    """Blocks are numbered from 0 and never interleave: one is closed where the next piece is none of it."""

    def __init__(self, request_id: str, *, model: str, shows_thinking: bool) -> None:
        self._request_id = request_id
        self._ids = Ids(request_id)
        self._model = model
        self._shows_thinking = shows_thinking
        self._index = -1
        self._open: Kind | None = None
        #: All of a delta of the open block before what is new in it, so that no token costs more than its text.
        self._before = b""
        self._calls = 0
        self._stop: dict[str, str | None] = {}

    def opening(self, started: Started) -> bytes:
        """Readers take the prompt's counts from here."""
        opened = message(
            self._ids,
            self._model,
            content=[],
            stop_reason=None,
            stop_sequence=None,
            usage={**prompt_usage(started), "output_tokens": 0},
        )
        return _event("message_start", message=opened)

    def content(self, event: Content) -> bytes:
        match event:
            case Text():
                return self._piece("text", event.text)
            case Reasoning():
                return self._piece("thinking", event.text) if self._shows_thinking else b""
            case CallBegun():
                block = {"type": "tool_use", "id": self._ids.call(self._calls), "name": event.name, "input": {}}
                self._calls += 1
                return self._close() + self._begin("tool_use", block)
            case CallArguments():
                return self._before + _encode(event.text) + b"}}\n\n"
            case Ended():
                self._stop = stop(event)
                return self._close()
        return b""  # log-probabilities, which this API does not have

    def closing(self, finished: Finished) -> bytes:
        return _event("message_delta", delta=self._stop, usage=usage(finished)) + _event("message_stop")

    def broken(self, refusal: Refusal) -> bytes:
        return errors.last_events(refusal, self._request_id)

    def keep_alive(self) -> bytes:
        return _PING

    def whole(self, assembly: Assembly, started: Started, finished: Finished) -> bytes:
        return whole(self._ids, self._model, assembly.choices[0], finished, shows_thinking=self._shows_thinking)

    # -- blocks --------------------------------------------------------------------------------------

    def _piece(self, kind: Literal["text", "thinking"], text: str) -> bytes:
        if not text:
            return b""
        begun = b""
        if self._open != kind:
            empty = {"text": ""} if kind == "text" else {"thinking": "", "signature": ""}
            begun = self._close() + self._begin(kind, {"type": kind, **empty})
        return begun + self._before + _encode(text) + b"}}\n\n"

    def _begin(self, kind: Kind, block: dict[str, Any]) -> bytes:
        self._index += 1
        self._open = kind
        head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":' % self._index
        self._before = head + _DELTA[kind]
        return _event("content_block_start", index=self._index, content_block=block)

    def _close(self) -> bytes:
        """The end of the open block, if one is."""
        if self._open is None:
            return b""
        signed = b""
        if self._open == "thinking":
            delta = {"type": "signature_delta", "signature": SIGNATURE}
            signed = _event("content_block_delta", index=self._index, delta=delta)
        self._open = None
        return signed + _event("content_block_stop", index=self._index)


def _event(name: str, **fields: Any) -> bytes:
    """Clients drop an event without its name."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode({"type": name, **fields}))
