"""What a right answer is: WORDS words, in as many content chunks where it streams, and the stream's proper end.

The echo harness answers so, whatever it is asked.
"""

from __future__ import annotations

from typing import Any

import msgspec

#: Sent as `max_tokens`.
WORDS = 34

_TEXT = b'"content":"'
_NO_TEXT = b'"content":""'  # the opening chunk, which only says the role
_ERROR = b'data: {"error"'
_DONE = b"data: [DONE]"


class WrongAnswerError(Exception):
    """Why an answer does not count."""


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_decode_completion = msgspec.json.Decoder(_Completion).decode


def check_whole(body: bytes) -> None:
    """Raises WrongAnswerError for anything but a completion of WORDS words."""
    try:
        words = len((_decode_completion(body).choices[0].message.content or "").split())
    except (msgspec.MsgspecError, IndexError) as fault:
        raise WrongAnswerError(f"not a chat completion: {fault}") from fault
    if words != WORDS:
        raise WrongAnswerError(f"{words} words instead of {WORDS}")


def seems_right(raw: bytearray) -> bool:
    """Whether a stream, as it came from the socket, is right at a glance: no JSON is read, so that asking stays cheap.

    False may only mean that the server writes its JSON in another way: `check_stream` tells.
    """
    return (
        raw.count(_TEXT) - raw.count(_NO_TEXT) == WORDS
        and raw.find(_DONE, max(0, len(raw) - 64)) >= 0
        and _ERROR not in raw
    )


def check_stream(body: bytes) -> None:
    """Raises WrongAnswerError for anything but a stream of WORDS chunks with text and `[DONE]` at its end."""
    chunks = 0
    done = False
    for line in body.splitlines():
        if not line.startswith(b"data: "):
            continue
        done = line == _DONE
        if not done:
            chunks += _has_text(line[6:])
    if chunks != WORDS:
        raise WrongAnswerError(f"{chunks} chunks with text instead of {WORDS}")
    if not done:
        raise WrongAnswerError("the stream did not end with [DONE]")


def _has_text(data: bytes) -> bool:
    try:
        event: Any = msgspec.json.decode(data)
    except msgspec.DecodeError as fault:
        raise WrongAnswerError(f"a chunk is not JSON: {fault}") from fault
    if "error" in event:
        raise WrongAnswerError(f"the stream broke off: {error_message(data)}")
    return any(choice.get("delta", {}).get("content") for choice in event.get("choices", []))


def error_message(body: bytes) -> str:
    """What an error body says, in the envelope of OpenAI or not."""
    try:
        return str(msgspec.json.decode(body)["error"]["message"])[:200]
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def dechunked(raw: bytes) -> bytes:
    """The body inside HTTP's chunked transfer coding."""
    parts = []
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if length == 0:
            break
        parts.append(rest[:length])
        raw = rest[length + 2 :]
    return b"".join(parts)
