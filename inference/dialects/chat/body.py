"""What Chat Completions takes (WIRE_APIS 1.1), field by field: types and ranges, not yet what they mean.

Schemas stay the text they came in: nothing on the way walks through them, however deep they are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from inference.dialects.json_body import decode_object
from inference.dialects.openai.fields import Fields, Tokens
from inference.dialects.thinking import Effort
from inference.refusals import Refusal, invalid

#: In place of a Raw that was left out; msgspec has no optional ones, but takes a null for one.
ABSENT = Raw(b"null")


# -- messages --------------------------------------------------------------------------------------


class Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None


Content = str | list[Part]


class CalledFunction(msgspec.Struct):
    name: str
    arguments: str | None = None


class CalledTool(msgspec.Struct):
    """A custom tool's call."""

    name: str
    input: str | None = None


class Call(msgspec.Struct):
    id: Annotated[str, Meta(min_length=1)]
    function: CalledFunction | None = None
    custom: CalledTool | None = None


class Message(msgspec.Struct):
    """`reasoning` is what some clients call `reasoning_content`."""

    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    function_call: dict[str, Any] | None = None


# -- tools -----------------------------------------------------------------------------------------


class Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Raw = ABSENT
    strict: bool | None = None


class Grammar(msgspec.Struct):
    definition: str
    syntax: Literal["lark", "regex"] | None = None


class Format(msgspec.Struct):
    type: Literal["text", "grammar"]
    grammar: Grammar | None = None


class Custom(msgspec.Struct):
    name: str
    description: str | None = None
    format: Format | None = None


class Tool(msgspec.Struct):
    type: str = "function"
    function: Function | None = None
    custom: Custom | None = None


class Named(msgspec.Struct):
    name: str


class ToolName(msgspec.Struct):
    type: str = "function"
    function: Named | None = None
    custom: Named | None = None


class AllowedTools(msgspec.Struct):
    mode: Literal["auto", "required"]
    tools: list[ToolName]


class ToolChoice(ToolName):
    allowed_tools: AllowedTools | None = None


# -- the rest --------------------------------------------------------------------------------------


class JsonSchema(msgspec.Struct):
    """Its name and description are read by nobody here."""

    name: str | None = None
    description: str | None = None
    schema: Raw = ABSENT
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Body(Fields, kw_only=True):
    messages: list[Message] | None = None
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    # Known, and refused: see `read`.
    functions: list[Any] | None = None
    function_call: Any = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None


_body = msgspec.json.Decoder(Body)


def read(body: bytes) -> Body:
    """The fields of a body that has a model and messages. Raises Refusal (400) naming the field that is wrong."""
    fields = decode_object(body, _body)
    if not fields.model:
        raise Refusal("The field `model` is missing: name the model to use.", code="missing_model_field", param="model")
    if not fields.messages:
        raise invalid("The field `messages` must be a list of at least one message.", "messages")
    for name in ("max_tokens", "max_completion_tokens"):
        if getattr(fields, name) == 0:
            raise invalid(f"The field `{name}` must be at least 1.", name)
    if fields.functions:
        raise invalid("`functions` has been replaced: offer them as `tools`.", "functions")
    if fields.function_call is not None:
        raise invalid("`function_call` has been replaced by `tool_choice`.", "function_call")
    if fields.audio is not None:
        raise invalid("`audio`: models here answer in text.", "audio")
    if any(modality != "text" for modality in fields.modalities or []):
        raise invalid("`modalities`: models here answer in `text` only.", "modalities")
    return fields
