"""The messages of a Chat Completions request as chat templates take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.dialects.chat import body as wire
from inference.dialects.chat.body import Content, Part
from inference.dialects.openai.custom_tools import arguments_of
from inference.refusals import Refusal, invalid
from inference.requests import Message


def conversation(messages: Sequence[wire.Message]) -> list[Message]:
    """Raises Refusal (400) naming the message or the part that is wrong."""
    name_of_call: dict[str, str] = {}
    return [_message(message, f"messages[{index}]", name_of_call) for index, message in enumerate(messages)]


def _message(message: wire.Message, at: str, name_of_call: dict[str, str]) -> Message:
    """`name_of_call` holds the tools that were called before, by the ids of their calls."""
    if message.function_call is not None:
        raise invalid("`function_call` has been replaced by `tool_calls`.", f"{at}.function_call")
    if message.tool_calls and message.role != "assistant":
        raise invalid("Only an assistant message can hold `tool_calls`.", f"{at}.tool_calls")
    if message.content is None and message.role != "assistant":
        raise invalid(f"A {message.role} message needs `content`.", f"{at}.content")
    result: Message = {"role": message.role, "content": _text(message.content, f"{at}.content")}
    if message.name is not None:
        result["name"] = message.name
    if message.role == "assistant":
        result |= _said(message, at, name_of_call)
    elif message.role == "tool":
        result |= _answered(message, at, name_of_call)
    return result


def _said(message: wire.Message, at: str, name_of_call: dict[str, str]) -> dict[str, Any]:
    """What only an assistant's message has."""
    said: dict[str, Any] = {}
    if message.content is None and message.refusal:
        said["content"] = message.refusal
    reasoning = message.reasoning_content or message.reasoning
    if isinstance(reasoning, str) and reasoning:
        said["reasoning_content"] = reasoning
    if message.tool_calls:
        said["tool_calls"] = [
            _call(call, f"{at}.tool_calls[{index}]", name_of_call) for index, call in enumerate(message.tool_calls)
        ]
    return said


def _call(call: wire.Call, at: str, name_of_call: dict[str, str]) -> dict[str, Any]:
    """Arguments stay the text they came in, broken or not; the engine makes of it what its template takes."""
    if call.id in name_of_call:
        raise invalid(f"`{at}.id` is the id of an earlier call too: `{call.id}`.", f"{at}.id")
    if call.function is not None:
        name, arguments = call.function.name, call.function.arguments or ""
    elif call.custom is not None:
        name, arguments = call.custom.name, arguments_of(call.custom.input or "")
    else:
        raise invalid(f"The field `{at}.function` is missing.", f"{at}.function")
    name_of_call[call.id] = name
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _answered(message: wire.Message, at: str, name_of_call: dict[str, str]) -> dict[str, Any]:
    if not message.tool_call_id:
        raise invalid("A tool message needs `tool_call_id`.", f"{at}.tool_call_id")
    name = name_of_call.get(message.tool_call_id)
    if name is None:
        text = f"`{at}.tool_call_id` names no call of an earlier message: `{message.tool_call_id}`."
        raise invalid(text, f"{at}.tool_call_id")
    return {"tool_call_id": message.tool_call_id, "name": message.name or name}


def _text(content: Content | None, at: str) -> str | None:
    """The text of a message; parts are joined by a line break."""
    if content is None or isinstance(content, str):
        return content
    return "\n".join(_text_of(part, f"{at}[{index}]") for index, part in enumerate(content))


def _text_of(part: Part, at: str) -> str:
    """Whatever is not text is refused by its place."""
    if part.type in ("image_url", "input_image"):
        raise Refusal(f"`{at}`: this model does not take images.", code="vision_unsupported", param=at)
    if part.type not in ("text", "refusal"):
        raise invalid(f"Content parts of type `{part.type}` are not supported.", f"{at}.type")
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise invalid(f"A {part.type} part needs `{part.type}`.", f"{at}.{part.type}")
    return text
