"""The turns of a Messages conversation as the messages that chat templates take (MISSION G4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from inference.dialects.json_body import decode_part
from inference.dialects.messages import body as wire
from inference.dialects.messages.body import Content, TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock, Turn
from inference.refusals import Refusal, invalid
from inference.requests import Message

#: Claude Code begins its system text with a line that differs in every request, and would make every prefix new.
BILLING_LINE = "x-anthropic-billing-header:"

_text = msgspec.json.Decoder(TextBlock)
_thinking = msgspec.json.Decoder(ThinkingBlock)
_tool_use = msgspec.json.Decoder(ToolUseBlock)
_tool_result = msgspec.json.Decoder(ToolResultBlock)


class Conversation(NamedTuple):
    """`continue_last` where the last message is the beginning of the answer."""

    messages: list[Message]
    continue_last: bool


def conversation(system: Content | None, turns: Sequence[Turn]) -> Conversation:
    """Raises Refusal (400) naming the turn or block that is wrong."""
    reader = _Reader()
    reader.add_system(system or [], "system")
    for index, turn in enumerate(turns):
        reader.add(turn, f"messages[{index}].content")
    messages = reader.messages
    continue_last = turns[-1].role == "assistant"
    if continue_last and "tool_calls" in messages[-1]:
        place = f"messages[{len(turns) - 1}]"
        raise invalid(f"`{place}` ends the conversation with a `tool_use` that has no `tool_result`.", place)
    if continue_last and not messages[-1]["content"] and "reasoning_content" not in messages[-1]:
        messages, continue_last = messages[:-1], False  # an answer that begins with nothing is a new one
    leading = "\n\n".join(reader.system)
    return Conversation([{"role": "system", "content": leading}, *messages] if leading else messages, continue_last)


class _Reader:
    """Takes turns in their order. Every system text is gathered: templates take one message of them, in front."""

    def __init__(self) -> None:
        self.system: list[str] = []
        self.messages: list[Message] = []
        self._name_of_call: dict[str, str] = {}

    def add(self, turn: Turn, at: str) -> None:
        if turn.role == "system":
            self.add_system(turn.content, at)
        elif turn.role == "user":
            self._add_user(turn.content, at)
        else:
            self._add_assistant(turn.content, at)

    def add_system(self, content: Content, at: str) -> None:
        texts = list(_texts(content, at))
        if not self.system and texts and texts[0].startswith(BILLING_LINE):
            texts[0] = texts[0].partition("\n")[2]
        self.system += [text for text in texts if text]

    def _add_user(self, content: Content, at: str) -> None:
        """Results of tools come first, whatever stands before them: they answer the turn before."""
        if isinstance(content, str):
            self.messages.append({"role": "user", "content": content})
            return
        results: list[Message] = []
        texts: list[str] = []
        for block, kind, place in _blocks(content, at):
            if kind == "tool_result":
                results.append(self._result(block, place))
            elif kind == "tool_use":
                raise invalid(f"`{place}`: a user turn cannot hold a `tool_use` block.", place)
            else:
                texts.append(_text_of(block, kind, place))
        self.messages += results
        if texts or not results:
            self.messages.append({"role": "user", "content": "\n".join(texts)})

    def _result(self, block: Raw, at: str) -> Message:
        result = decode_part(block, _tool_result, at)
        name = self._name_of_call.get(result.tool_use_id)
        if name is None:
            message = f"`{at}.tool_use_id` names no `tool_use` block of an earlier turn: `{result.tool_use_id}`."
            raise invalid(message, f"{at}.tool_use_id")
        text = "\n".join(_texts(result.content or [], f"{at}.content"))
        if result.is_error:
            text = f"Error: {text}"
        return {"role": "tool", "tool_call_id": result.tool_use_id, "name": name, "content": text}

    def _add_assistant(self, content: Content, at: str) -> None:
        """Texts of one answer follow each other as they are: it was one text, or is one that goes on."""
        texts: list[str] = [content] if isinstance(content, str) else []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        for block, kind, place in _blocks(content if isinstance(content, list) else [], at):
            if kind == "tool_use":
                calls.append(self._call(block, place))
            elif kind == "tool_result":
                raise invalid(f"`{place}`: an assistant turn cannot hold a `tool_result` block.", place)
            elif kind == "thinking":
                thoughts.append(decode_part(block, _thinking, place).thinking)
            elif kind != "redacted_thinking":
                text = _text_of(block, kind, place)
                texts.append(text if kind == "text" else f"\n{text}\n")
        message: Message = {"role": "assistant", "content": "".join(texts)}
        if reasoning := "\n".join(thought for thought in thoughts if thought):
            message["reasoning_content"] = reasoning
        if calls:
            message["tool_calls"] = calls
        self.messages.append(message)

    def _call(self, block: Raw, at: str) -> dict[str, Any]:
        call = decode_part(block, _tool_use, at)
        if call.id in self._name_of_call:
            raise invalid(f"`{at}.id` is the id of an earlier `tool_use` block too: `{call.id}`.", f"{at}.id")
        self._name_of_call[call.id] = call.name
        arguments = wire.object_text(call.input, f"{at}.input") or "{}"
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _blocks(content: list[Raw], at: str) -> Iterator[tuple[Raw, str, str]]:
    """Each block with its type and its place."""
    for index, block in enumerate(content):
        place = f"{at}[{index}]"
        yield block, wire.type_of(block, place), place


def _texts(content: Content, at: str) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    for block, kind, place in _blocks(content, at):
        yield _text_of(block, kind, place)


def _text_of(block: Raw, kind: str, at: str) -> str:
    """The text of a text block; any other but an image is kept as JSON, never lost."""
    if kind == "text":
        return decode_part(block, _text, at).text
    if kind == "image":
        raise Refusal(f"`{at}`: this model does not take images.", code="vision_unsupported", param=at)
    return wire.json_text(block, at)
