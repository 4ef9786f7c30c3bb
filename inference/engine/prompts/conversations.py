"""Messages as clients send them, made into messages that chat templates take."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from inference.requests import Message, Tool

#: What of a message a template is given.
_FIELDS = ("role", "content", "name", "reasoning_content", "tool_calls", "tool_call_id")
#: Objects in objects that are handed to a template as such. It walks through them by recursion.
_DEEPEST = 64


class PromptError(Exception):
    """What a client sent cannot be put into a prompt, for a reason of its own, at the field `param`."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


def conversation(messages: Sequence[Message], *, call_id: Callable[[str], str] = str) -> list[Message]:
    """One system message in front, no role twice in a row, arguments as objects; `call_id` rewrites the ids of calls.

    Strict templates take nothing else. A message that calls and says nothing has no content at all.
    """
    return [_complete(message, call_id) for message in _merged(_with_one_system_message(messages))]


def with_calls_one_by_one(messages: Sequence[Message]) -> list[Message]:
    """Each call in a message of its own, followed by its result: some templates take no parallel calls."""
    apart: list[Message] = []
    for message, results in _turns(messages):
        calls = message.get("tool_calls", [])
        for number, call in enumerate(calls):
            apart.append({**(message if not number else {"role": "assistant"}), "tool_calls": [call]})
            apart += [result for result in results if result.get("tool_call_id") == call["id"]]
        ids = {call["id"] for call in calls}
        others = [result for result in results if result.get("tool_call_id") not in ids]
        apart += others if calls else [message, *others]
    return apart


def with_system_in_first_question(messages: Sequence[Message]) -> list[Message]:
    """For templates that know no system message."""
    system, *others = messages
    for at, message in enumerate(others):
        if message["role"] == "user":
            text = f"{system['content']}\n\n{message['content']}"
            return [*others[:at], {**message, "content": text}, *others[at + 1 :]]
    return [{"role": "user", "content": system["content"]}, *others]


def tool_objects(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Tools in OpenAI's shape, which templates expect. Raises PromptError for parameters that are no object."""
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def arguments_object(text: str) -> dict[str, Any]:
    """The object that a string of arguments spells; nothing is `{}`, and what is no object is kept under `_raw`.

    So is what is nested too deep for a template.
    """
    if not text.strip():
        return {}
    value = _json(text)
    return value if isinstance(value, dict) else {"_raw": text}


def nine_characters(call_id: str) -> str:
    """An id that Mistral's templates take: nine letters and digits, the same ones for the same id."""
    if len(call_id) == 9 and call_id.isascii() and call_id.isalnum():
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def _with_one_system_message(messages: Sequence[Message]) -> list[Message]:
    """Fold every system and developer message into one in front: templates reject any other place."""
    system = [message for message in messages if message["role"] in ("system", "developer")]
    if not system:
        return list(messages)
    others = [message for message in messages if message["role"] not in ("system", "developer")]
    return [{"role": "system", "content": _joined(system, "content")}, *others]


def _merged(messages: Iterable[Message]) -> list[Message]:
    """Questions in a row become one, and so do answers. Results of tools stay apart."""
    merged: list[Message] = []
    for message in messages:
        if merged and message["role"] in ("user", "assistant") and message["role"] == merged[-1]["role"]:
            merged[-1] = _both(merged[-1], message)
        else:
            merged.append(message)
    return merged


def _both(first: Message, second: Message) -> Message:
    return {
        **first,
        **second,
        "content": _joined((first, second), "content"),
        "reasoning_content": _joined((first, second), "reasoning_content"),
        "tool_calls": [*(first.get("tool_calls") or ()), *(second.get("tool_calls") or ())],
    }


def _joined(messages: Iterable[Message], field: str) -> str:
    return "\n\n".join(message[field] for message in messages if message.get(field))


def _complete(message: Message, call_id: Callable[[str], str]) -> Message:
    whole = {field: message[field] for field in _FIELDS if message.get(field)}
    if calls := whole.get("tool_calls"):
        whole["tool_calls"] = [_call(call, call_id) for call in calls]
    else:
        whole.setdefault("content", "")
    if "tool_call_id" in whole:
        whole["tool_call_id"] = call_id(whole["tool_call_id"])
    return whole


def _call(call: dict[str, Any], call_id: Callable[[str], str]) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments", "")
    return {
        "type": "function",
        "id": call_id(call.get("id") or ""),
        "function": {
            "name": function["name"],
            "arguments": arguments_object(arguments) if isinstance(arguments, str) else arguments,
        },
    }


def _turns(messages: Iterable[Message]) -> Iterator[tuple[Message, list[Message]]]:
    """Each message with the results of tools behind it."""
    turns: list[tuple[Message, list[Message]]] = []
    for message in messages:
        if message["role"] == "tool" and turns:
            turns[-1][1].append(message)
        else:
            turns.append((message, []))
    return iter(turns)


def _function(tool: Tool) -> dict[str, Any]:
    parameters = _json(tool.parameters)
    if not isinstance(parameters, dict):
        raise PromptError(
            "tools", f"The parameters of the tool {tool.name!r} are no object, or nested more than {_DEEPEST} deep."
        )
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parameters": parameters}


def _json(text: str) -> Any:
    """A value, None where the text is none or nests too deep."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if _depth(value) <= _DEEPEST else None


def _depth(value: Any) -> int:
    """How deep objects and arrays are in each other."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth
