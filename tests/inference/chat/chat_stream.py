"""A strict reader of a Chat Completions stream: it puts the answer together and accepts nothing that WIRE_APIS 1.3
forbids."""

from __future__ import annotations

import json
from typing import Any


def data_of(stream: bytes) -> list[str]:
    """The data of each event; comments are skipped."""
    frames = stream.decode().split("\n\n")
    assert frames.pop() == ""
    events = [frame for frame in frames if not frame.startswith(":")]
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [event.removeprefix("data: ") for event in events]


def answer_of(stream: bytes) -> dict[str, Any]:
    """The whole answer that a complete stream comes to."""
    *chunks, done = data_of(stream)
    assert done == "[DONE]"
    read = _Reader()
    for chunk in chunks:
        read.take(json.loads(chunk))
    return read.answer()


class _Reader:
    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] | None = None

    def take(self, chunk: dict[str, Any]) -> None:
        choices, usage = chunk.pop("choices"), chunk.pop("usage", None)
        assert chunk["object"] == "chat.completion.chunk"
        assert self._head in ({}, chunk)
        assert self._usage is None, "the usage is in the last chunk"
        assert choices or usage, "a chunk without choices has the usage"
        self._head, self._usage = chunk, usage
        for choice in choices:
            self._grow(choice)

    def _grow(self, piece: dict[str, Any]) -> None:
        index, delta = piece["index"], piece["delta"]
        if index not in self._choices:
            assert index == len(self._choices), "choices begin in their order"
            assert delta == {"role": "assistant", "content": ""}, "the role comes first"
            message = {"role": "assistant", "content": "", "refusal": None}
            self._choices[index] = {"index": index, "message": message, "logprobs": None, "finish_reason": None}
            return
        choice = self._choices[index]
        message = choice["message"]
        assert choice["finish_reason"] is None, "nothing follows the end"
        assert "role" not in delta
        choice["finish_reason"] = piece["finish_reason"]
        assert delta or piece["finish_reason"], "every delta has something new"
        for field in ("content", "reasoning_content", "reasoning"):
            if field in delta:
                message[field] = message.get(field, "") + delta[field]
        for call in delta.get("tool_calls", ()):
            _grow_call(message.setdefault("tool_calls", []), call)
        if piece.get("logprobs"):
            before = choice["logprobs"] or {"content": [], "refusal": None}
            choice["logprobs"] = {**before, "content": before["content"] + piece["logprobs"]["content"]}

    def answer(self) -> dict[str, Any]:
        assert self._usage is not None
        for choice in self._choices.values():
            assert choice["finish_reason"] is not None
            message = choice["message"]
            if "tool_calls" in message and not message["content"]:
                message["content"] = None
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage}


def _grow_call(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    index = piece.pop("index")
    if index == len(calls):
        assert piece["id"]
        calls.append(piece)
        return
    assert index == len(calls) - 1, "a call is over where the next begins"
    assert set(piece) == {"function"}
    assert set(piece["function"]) == {"arguments"}, "id, type and name come once"
    calls[index]["function"]["arguments"] += piece["function"]["arguments"]
