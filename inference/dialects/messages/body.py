"""What Anthropic's Messages API takes (WIRE_APIS 4.1), field by field: types and ranges, not yet what they mean.

Blocks, tools and schemas stay as they came until it is known what they are: those that are unknown here are no fault,
and nothing has to walk through what only the model reads, however deep it is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from inference.dialects.json_body import decode_object, decode_part
from inference.refusals import Refusal, invalid

Content = str | list[Raw]
Effort = Literal["low", "medium", "high", "xhigh", "max"]

#: In place of a Raw that was left out; msgspec has no optional ones, but takes a null for one.
ABSENT = Raw(b"null")

_Named = Annotated[str, Meta(min_length=1)]
_Fraction = Annotated[float, Meta(ge=0, le=1)]


class Turn(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: Content


class ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: Annotated[int, Meta(ge=1024)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: Raw


class OutputConfig(msgspec.Struct):
    effort: Effort | None = None
    format: Format | None = None


class Body(msgspec.Struct):
    """`output_format` is where the format stood before `output_config`."""

    model: str | None = None
    messages: list[Turn] | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    system: Content | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: _Fraction | None = None
    top_p: _Fraction | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    tools: list[Raw] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    thread: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class TextBlock(msgspec.Struct):
    text: str


class ThinkingBlock(msgspec.Struct):
    thinking: str = ""


class ToolUseBlock(msgspec.Struct):
    id: _Named
    name: _Named
    input: Raw = ABSENT


class ToolResultBlock(msgspec.Struct):
    tool_use_id: _Named
    content: Content | None = None
    is_error: bool | None = None


class _Typed(msgspec.Struct):
    type: str


_body = msgspec.json.Decoder(Body)
_typed = msgspec.json.Decoder(_Typed)
_anything = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def read(body: bytes) -> Body:
    """The fields of a body that has a model and messages. Raises Refusal (400) naming the field that is wrong."""
    fields = decode_object(body, _body)
    if not fields.model:
        raise Refusal("The field `model` is missing: name the model to use.", code="missing_model_field", param="model")
    if fields.thread is not None:
        raise _no_threads()
    if not fields.messages:
        raise invalid("The field `messages` must be a list of at least one message.", "messages")
    return fields


def _no_threads() -> Refusal:
    """In the word by which the SDK's runner of tools, which begins with a thread, goes on without one."""
    return Refusal(
        "`thread`: no conversation is kept here between requests; send all of its messages.",
        status=400,
        param="thread",
        diagnostics={"error_code": "thread_unsupported_request"},
    )


def type_of(block: Raw, at: str) -> str:
    return decode_part(block, _typed, at).type


def object_text(part: Raw, at: str) -> str | None:
    """The text of a JSON object, as it came; None for null. Raises Refusal for any other value."""
    text = bytes(part).decode()
    if text == "null":
        return None
    if not text.lstrip().startswith("{"):
        raise invalid(f"The field `{at}` must be an object.", at)
    return text


def json_text(part: Raw, at: str) -> str:
    """Any JSON value as a model should read it: without escapes that text can do without, and without spaces."""
    value = decode_part(part, _anything, at)
    try:
        return _encode(value).decode()
    except (OverflowError, RecursionError):  # an integer of more than 64 bits, or just as deep as can be read
        return bytes(part).decode()
