"""Items of a Responses `input`, each read by its type; those that say nothing to a model are passed over."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from inference.dialects.json_body import decode_part
from inference.dialects.openai.custom_tools import arguments_of
from inference.dialects.responses.names import flat_name
from inference.refusals import Refusal, invalid

#: What leads reasoning that we handed out as `encrypted_content`: nobody else's can be read.
OPAQUE = "hx1."


class Said(NamedTuple):
    role: str
    text: str


class Thought(NamedTuple):
    text: str


class Call(NamedTuple):
    """A call of a tool by its flat name; `arguments` is JSON text, as the model wrote it."""

    call_id: str
    name: str
    arguments: str
    at: str


class Result(NamedTuple):
    call_id: str
    text: str
    at: str


class Offer(NamedTuple):
    """Tools that came among the items and not at the top."""

    tools: list[msgspec.Raw]
    at: str


class Reference(NamedTuple):
    """An item that was stored before, by its id."""

    id: str
    at: str


Item = Said | Thought | Call | Result | Offer | Reference


class _Head(msgspec.Struct):
    type: str | None = None
    role: str | None = None
    id: str | None = None


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[_Part] | None = None


class _Reasoning(msgspec.Struct):
    summary: list[_Part] | None = None
    content: list[_Part] | None = None
    encrypted_content: str | None = None


class _Call(msgspec.Struct):
    call_id: str
    name: str
    arguments: str | None = None
    input: str | None = None
    namespace: str | None = None


class _Result(msgspec.Struct):
    call_id: str
    output: str | list[_Part] | None = None


class _Offer(msgspec.Struct):
    tools: list[msgspec.Raw] | None = None


_head = msgspec.json.Decoder(_Head)
_message = msgspec.json.Decoder(_Message)
_reasoning = msgspec.json.Decoder(_Reasoning)
_call = msgspec.json.Decoder(_Call)
_result = msgspec.json.Decoder(_Result)
_offer = msgspec.json.Decoder(_Offer)


def read_item(raw: msgspec.Raw, at: str) -> Item | None:
    """The item at that place, None for one of a type that is not for a model. Raises Refusal (400) naming the place."""
    head = decode_part(raw, _head, at)
    kind = head.type or ("message" if head.role is not None else "item_reference")
    if kind == "item_reference":
        if not head.id:
            raise invalid(f"The item `{at}` has neither a `type` nor a `role`.", at)
        return Reference(head.id, at)
    read = _READERS.get(kind)
    return read(raw, at) if read else None  # what a hosted tool did, or a type of tomorrow


def _read_message(raw: msgspec.Raw, at: str) -> Item:
    message = decode_part(raw, _message, at)
    return Said(message.role, _text(message.content, f"{at}.content"))


def _read_reasoning(raw: msgspec.Raw, at: str) -> Item | None:
    """Its text, else what stands for it, else what we sealed ourselves. A replayed one that says nothing is dropped."""
    item = decode_part(raw, _reasoning, at)
    text = "\n".join(part.text or "" for part in item.content or item.summary or [])
    return Thought(text) if text or (text := unseal(item.encrypted_content or "")) else None


def _read_call(raw: msgspec.Raw, at: str) -> Item:
    call = decode_part(raw, _call, at)
    return Call(_call_id(call.call_id, at), flat_name(call.namespace, call.name), call.arguments or "", at)


def _read_custom_call(raw: msgspec.Raw, at: str) -> Item:
    call = decode_part(raw, _call, at)
    return Call(_call_id(call.call_id, at), flat_name(call.namespace, call.name), arguments_of(call.input or ""), at)


def _read_result(raw: msgspec.Raw, at: str) -> Item:
    result = decode_part(raw, _result, at)
    return Result(_call_id(result.call_id, at), _text(result.output, f"{at}.output"), at)


def _read_offer(raw: msgspec.Raw, at: str) -> Item:
    return Offer(decode_part(raw, _offer, at).tools or [], at)


_READERS: dict[str, Callable[[msgspec.Raw, str], Item | None]] = {
    "message": _read_message,
    "reasoning": _read_reasoning,
    "function_call": _read_call,
    "custom_tool_call": _read_custom_call,
    "function_call_output": _read_result,
    "custom_tool_call_output": _read_result,
    "additional_tools": _read_offer,
}


def _call_id(call_id: str, at: str) -> str:
    if not call_id:
        raise invalid(f"The field `{at}.call_id` must not be empty.", f"{at}.call_id")
    return call_id


def _text(content: str | list[_Part] | None, at: str) -> str:
    """The text of a message or a result; parts are joined by a line break."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_part(part, f"{at}[{index}]") for index, part in enumerate(content))


def _part(part: _Part, at: str) -> str:
    if part.type == "input_image":
        raise Refusal("Image parts are not supported by this model.", code="vision_unsupported", param=at)
    if part.type == "refusal":
        return part.refusal or ""
    if part.type not in ("input_text", "output_text", "text"):
        raise invalid(f"Content parts of type `{part.type}` are not supported.", f"{at}.type")
    if part.text is None:
        raise invalid(f"The part `{at}` needs `text`.", f"{at}.text")
    return part.text


def seal(text: str) -> str:
    """Reasoning as `encrypted_content`: opaque to clients, who send it back as it is where nothing is stored."""
    return OPAQUE + base64.b64encode(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text of what `seal` made; empty for anybody else's."""
    if not sealed.startswith(OPAQUE):
        return ""
    try:
        return base64.b64decode(sealed.removeprefix(OPAQUE), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
