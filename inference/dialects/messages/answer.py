"""A whole message, as Anthropic's Messages API gives it, and what a streamed one shares with it (WIRE_APIS 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from inference.dialects.assembly import Choice, Passage
from inference.events import Ended, Finished, Started

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Raw])

#: Clients send thinking back only if it is signed. Nobody checks it here: what comes back is what a client says it is.
SIGNATURE = "aGVsZXhh"

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Ids:
    """What an answer and its calls are named by, the same whenever they are made of the same request."""

    def __init__(self, request_id: str) -> None:
        self._digits = request_id.removeprefix("req_")

    @property
    def message(self) -> str:
        return f"msg_{self._digits}"

    def call(self, call: int) -> str:
        return f"toolu_{self._digits}{call:02x}"


def stop(ended: Ended | Choice) -> dict[str, str | None]:
    """Why an answer ended: `stop_sequence` is the string that ended it, if one did."""
    by_string = ended.reason == "stop" and ended.stop is not None
    return {
        "stop_reason": "stop_sequence" if by_string else _STOP_REASONS[ended.reason],
        "stop_sequence": ended.stop if by_string else None,
    }


def prompt_usage(counts: Started | Finished) -> dict[str, int]:
    """Tokens of the prompt: those that were cached are counted apart, and those written to a cache never are."""
    return {
        "input_tokens": counts.prompt_tokens - counts.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counts.cached_tokens,
    }


def usage(finished: Finished) -> dict[str, Any]:
    return {
        **prompt_usage(finished),
        "output_tokens": finished.completion_tokens,
        "output_tokens_details": {"thinking_tokens": finished.reasoning_tokens},
    }


def message(ids: Ids, model: str, **fields: Any) -> dict[str, Any]:
    """A message with these of its fields."""
    return {"id": ids.message, "type": "message", "role": "assistant", "model": model, **fields}


def whole(ids: Ids, model: str, choice: Choice, finished: Finished, *, shows_thinking: bool) -> bytes:
    """The body of an answer. Thinking nobody asked for is left out, and what it parted is one again."""
    content = list(_blocks(_shown(choice, shows_thinking=shows_thinking), ids))
    return _encode(message(ids, model, content=content, **stop(choice), usage=usage(finished)))


def _shown(choice: Choice, *, shows_thinking: bool) -> list[Passage]:
    shown: list[Passage] = []
    for passage in choice.passages:
        if passage.kind == "text" and shown and shown[-1].kind == "text":
            shown[-1] = Passage("text", shown[-1].text + passage.text)
        elif passage.kind != "reasoning" or shows_thinking:
            shown.append(passage)
    return shown


def _blocks(passages: list[Passage], ids: Ids) -> Iterator[dict[str, Any]]:
    calls = 0
    for passage in passages:
        if passage.kind == "reasoning":
            yield {"type": "thinking", "thinking": passage.text, "signature": SIGNATURE}
        elif passage.kind == "text":
            yield {"type": "text", "text": passage.text}
        else:
            yield {"type": "tool_use", "id": ids.call(calls), "name": passage.name, "input": _input(passage.text)}
            calls += 1


def _input(arguments: str) -> dict[str, Any]:
    """The object that arguments spell. Those cut by length spell none: they are kept as they are, under `_raw`.

    A stream hands on the same text piece by piece, and the engine takes the object for it when it comes back.
    """
    if not arguments:
        return {}
    try:
        return dict(_object.decode(arguments))
    except (msgspec.DecodeError, RecursionError):
        return {"_raw": arguments}
