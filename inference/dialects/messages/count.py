"""Counting the tokens of a Messages prompt, without an answer to it (WIRE_APIS 4.4)."""

from __future__ import annotations

import msgspec

from inference.dialects.assembly import Assembly
from inference.dialects.dialect import Header
from inference.dialects.messages.body import read
from inference.dialects.messages.request import MessagesRequest, request
from inference.dialects.messages.stream import MessagesAnswer
from inference.events import Finished, Started

_encode = msgspec.json.Encoder().encode


class CountRequest(MessagesRequest, frozen=True, kw_only=True):
    """The same prompt as the message's, so the same count; nothing is generated, reserved or billed."""

    def answer(self, request_id: str, *, model: str, created_s: int) -> CountAnswer:
        return CountAnswer(request_id, model=model, shows_thinking=self.shows_thinking)


class CountAnswer(MessagesAnswer):
    def whole(self, assembly: Assembly, started: Started, finished: Finished) -> bytes:
        """All of the prompt, cached or not: `input_tokens` and `cache_read_input_tokens` of the message together."""
        return _encode({"input_tokens": started.prompt_tokens})


def parse(body: bytes, header: Header) -> CountRequest:
    """POST /v1/messages/count_tokens: a message's body, whose `max_tokens` and `stream` mean nothing."""
    fields = read(body)
    fields.stream = False
    return CountRequest(**msgspec.structs.asdict(request(fields, max_tokens=0)) | {"only_count": True})
