"""The body of a Responses request: its fields as they come, checked for type and range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from inference.dialects.json_body import decode_object, require_shallow
from inference.dialects.openai.fields import Repetition
from inference.dialects.thinking import Effort
from inference.grammars import Grammar, JsonObject, JsonSchema
from inference.refusals import Refusal, invalid

_Tokens = Annotated[int, Meta(ge=1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
#: As OpenAI bounds it: it is stored with the response.
_Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]


class Reasoning(msgspec.Struct):
    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class Format(msgspec.Struct, omit_defaults=True):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw = msgspec.Raw(b"null")
    strict: bool | None = None


class Text(msgspec.Struct, omit_defaults=True):
    format: Format | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class StreamOptions(msgspec.Struct):
    include_obfuscation: bool | None = None


class Body(msgspec.Struct):
    """Raw parts are read by what they are: items, tools and choices have many shapes, of which some are skipped."""

    model: str | None = None
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    max_output_tokens: _Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    metadata: _Metadata | None = None
    user: str | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = msgspec.Raw(b"null")
    text: Text | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    prompt: msgspec.Raw = msgspec.Raw(b"null")
    conversation: msgspec.Raw = msgspec.Raw(b"null")
    # what other servers of open models take beside it
    seed: _Seed | None = None
    top_k: int | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repetition_penalty: Repetition | None = None
    chat_template_kwargs: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(Body)

#: Of another server's state: without it the request is not what its author means.
_ELSEWHERE = {
    "prompt": "Prompt templates are not kept here: send `instructions` and `input`.",
    "conversation": "Conversations are not kept here: send `previous_response_id` or the whole `input`.",
}


def read_body(body: bytes) -> Body:
    """Raises Refusal (400) naming the field that is wrong."""
    fields = decode_object(body, _decoder)
    if not fields.model:
        raise Refusal("The field `model` is missing: name the model to use.", code="missing_model_field", param="model")
    for name, reason in _ELSEWHERE.items():
        if is_there(getattr(fields, name)):
            raise invalid(f"The parameter `{name}` is not supported. {reason}", name)
    for part, at in _parts(fields):
        require_shallow(part, at)
    return fields


def _parts(fields: Body) -> Iterator[tuple[msgspec.Raw, str]]:
    """What is told or stored as it came, with its place."""
    for name, given in (("input", fields.input), ("tools", fields.tools)):
        if isinstance(given, list):
            yield from ((part, f"{name}[{index}]") for index, part in enumerate(given))
    yield fields.tool_choice, "tool_choice"
    if fields.text and fields.text.format:
        yield fields.text.format.schema, "text.format.schema"


def is_there(raw: msgspec.Raw) -> bool:
    return bytes(raw) != b"null"


def grammar_of(text: Text | None) -> Grammar | None:
    """What the text has to keep to. Raises Refusal (400) for a schema that is missing or none."""
    format_ = text.format if text else None
    if format_ is None or format_.type == "text":
        return None
    if format_.type == "json_object":
        return JsonObject()
    if not format_.name:
        raise invalid("The field `text.format.name` is missing: a schema needs a name.", "text.format.name")
    schema = bytes(format_.schema).decode()
    if not schema.startswith("{"):
        raise invalid("The field `text.format.schema` must be a JSON schema, an object.", "text.format.schema")
    return JsonSchema(schema, strict=bool(format_.strict))
