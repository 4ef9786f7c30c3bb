"""What the streams of Chat Completions and Completions share: one head, an end with the usage, `[DONE]`."""

from __future__ import annotations

from typing import Any

import msgspec

from inference.dialects.openai.errors import last_events
from inference.dialects.openai.usage import usage
from inference.events import Finished
from inference.refusals import Refusal

encode = msgspec.json.Encoder().encode

#: How a chunk ends whose choice goes on.
GOES_ON = b',"finish_reason":null}]}\n\n'


class ChunkStream:
    """Chunks of `choices` choices. What every one of them shares, `head`, is encoded once, not per token."""

    def __init__(self, head: dict[str, Any], *, choices: int, include_usage: bool) -> None:
        self._head = b"data: " + encode(head)[:-1]
        #: A chunk of one choice, up to where its own fields begin.
        self.begun = [self._head + b',"choices":[{"index":%d,' % index for index in range(choices)]
        self._choices_left = choices
        self._last_frame = b""
        self._include_usage = include_usage

    def ended(self, index: int, fields: bytes, reason: str) -> bytes:
        """The chunk with a choice's finish reason. That of the last one waits for `closing`."""
        frame = self.begun[index] + fields + b',"finish_reason":' + encode(reason) + b"}]"
        self._choices_left -= 1
        if self._choices_left:
            return frame + b"}\n\n"
        self._last_frame = frame
        return b""

    def closing(self, finished: Finished) -> bytes:
        """The last finish reason, the usage where the client looks for it, and `[DONE]`.

        Without `include_usage` no chunk has empty choices: readers that index `choices[0]` would break on one.
        """
        frames = self._last_frame
        if self._include_usage:
            frames += b"}\n\n" + self._head + b',"choices":[]'
        return frames + b',"usage":' + encode(usage(finished)) + b"}\n\ndata: [DONE]\n\n"

    def broken(self, refusal: Refusal) -> bytes:
        return last_events(refusal)

    def keep_alive(self) -> bytes:
        return b": keep-alive\n\n"
