"""The answer of a Chat Completions request: chunks, or all of it in one body (WIRE_APIS 1.2, 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.dialects.assembly import Assembly, Choice
from inference.dialects.dialect import Content
from inference.dialects.openai.custom_tools import input_of
from inference.dialects.openai.logprobs import logprobs_of
from inference.dialects.openai.stream import GOES_ON, ChunkStream, encode
from inference.dialects.openai.usage import SYSTEM_FINGERPRINT, usage
from inference.events import CallArguments, CallBegun, Ended, Finished, Reasoning, Started, Text, TokenLogprob

#: Of a request's digits those that go into the id of a call: the last ones are random.
_DIGITS_OF_CALL = 28


class ChatAnswer(ChunkStream):
    """The events of `n` choices.

    Calls of `custom_tools` are given back as the text that is their one argument, once it is whole.
    """

    def __init__(
        self,
        request_id: str,
        *,
        model: str,
        created_s: int,
        n: int,
        include_usage: bool = False,
        logprobs: bool = False,
        custom_tools: frozenset[str] = frozenset(),
    ) -> None:
        self._digits = request_id.removeprefix("req_")
        self._about = {
            "id": f"chatcmpl-{self._digits}",
            "object": "chat.completion",
            "created": created_s,
            "model": model,
            "system_fingerprint": SYSTEM_FINGERPRINT,
        }
        head = {**self._about, "object": "chat.completion.chunk"}
        super().__init__(head, choices=n, include_usage=include_usage)
        self._deltas = [begun + b'"delta":' for begun in self.begun]
        self._texts = [delta + b'{"content":' for delta in self._deltas]
        self._logprobs = logprobs
        self._custom_tools = custom_tools
        #: The call of a custom tool that is not whole yet, by its choice: its number, its name and its arguments.
        self._custom: dict[int, tuple[int, str, list[str]]] = {}

    # -- streamed ------------------------------------------------------------------------------------

    def opening(self, started: Started) -> bytes:
        """The role comes first, once for each choice and in their order: readers append choices as they see them."""
        return b"".join(delta + b'{"role":"assistant","content":""}' + GOES_ON for delta in self._deltas)

    def content(self, event: Content) -> bytes:
        match event:
            case Text():
                return self._text(event)
            case Reasoning():
                thought = {"reasoning_content": event.text, "reasoning": event.text}
                return self._delta(event.index, thought) if event.text else b""
            case CallBegun():
                return self._begin_call(event)
            case CallArguments():
                return self._arguments(event)
            case Ended():
                return self._whole_custom_call(event.index) + self.ended(event.index, b'"delta":{}', event.reason)
        return b""  # log-probabilities of a prompt, which this API does not have

    def _text(self, text: Text) -> bytes:
        if not self._logprobs:
            return self._texts[text.index] + encode(text.text) + b"}" + GOES_ON if text.text else b""
        if not text.text and not text.logprobs:
            return b""
        logprobs = b',"logprobs":' + encode(_logprobs(text.logprobs))
        return self._texts[text.index] + encode(text.text) + b"}" + logprobs + GOES_ON

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return self._deltas[index] + encode(delta) + GOES_ON

    def _begin_call(self, call: CallBegun) -> bytes:
        """The id and the name come once: readers join what they find under the same index."""
        before = self._whole_custom_call(call.index)
        if call.name in self._custom_tools:
            self._custom[call.index] = (call.call, call.name, [])
            return before
        function = {"name": call.name, "arguments": ""}
        begun = {"index": call.call, "id": self._id(call.index, call.call), "type": "function", "function": function}
        return before + self._delta(call.index, {"tool_calls": [begun]})

    def _arguments(self, piece: CallArguments) -> bytes:
        if piece.index in self._custom:
            self._custom[piece.index][2].append(piece.text)
            return b""
        if not piece.text:
            return b""
        more = {"index": piece.call, "function": {"arguments": piece.text}}
        return self._delta(piece.index, {"tool_calls": [more]})

    def _whole_custom_call(self, index: int) -> bytes:
        """The custom call of a choice, now that nothing more of it comes; nothing where it had none."""
        if index not in self._custom:
            return b""
        number, name, arguments = self._custom.pop(index)
        call = self._call(index, number, name, "".join(arguments))
        return self._delta(index, {"tool_calls": [{"index": number, **call}]})

    # -- whole ---------------------------------------------------------------------------------------

    def whole(self, assembly: Assembly, started: Started, finished: Finished) -> bytes:
        """Choices in order."""
        made = [self._choice(index, choice) for index, choice in enumerate(assembly.choices)]
        return encode({**self._about, "choices": made, "usage": usage(finished)})

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        return {
            "index": index,
            "message": self._message(index, choice),
            "logprobs": _logprobs(choice.logprobs) if self._logprobs else None,
            "finish_reason": choice.reason,
        }

    def _message(self, index: int, choice: Choice) -> dict[str, Any]:
        """Only one that calls and says nothing has null for its content; one that calls nothing has no calls."""
        calls = [self._call(index, number, call.name, call.text) for number, call in enumerate(choice.calls)]
        text, thought = choice.text_of("text"), choice.text_of("reasoning")
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if calls and not text else text,
            "refusal": None,
        }
        if thought:
            message |= {"reasoning_content": thought, "reasoning": thought}
        return {**message, "tool_calls": calls} if calls else message

    def _call(self, index: int, number: int, name: str, arguments: str) -> dict[str, Any]:
        call_id = self._id(index, number)
        if name in self._custom_tools:
            return {"id": call_id, "type": "custom", "custom": {"name": name, "input": input_of(arguments)}}
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _id(self, index: int, number: int) -> str:
        """The same for the same call, streamed or whole; no other answer has it.

        OpenAI takes ids of 40 characters at most in a history: a conversation that goes on there is not refused.
        """
        return f"call_{self._digits[-_DIGITS_OF_CALL:]}{index:02x}{number:04x}"


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {"content": logprobs_of(tokens), "refusal": None}
