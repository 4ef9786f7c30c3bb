"""OpenAI's Chat Completions: what a body asks for, as the gateway takes it (WIRE_APIS 1)."""

from __future__ import annotations

from typing import Any

from inference.dialects import thinking
from inference.dialects.chat import body as wire
from inference.dialects.chat.answer import ChatAnswer
from inference.dialects.chat.body import Body, ResponseFormat
from inference.dialects.chat.messages import conversation
from inference.dialects.chat.tools import custom_names, tool_use
from inference.dialects.dialect import Header
from inference.dialects.openai.fields import UNBOUNDED, sampling, stop_strings, wants_usage
from inference.dialects.parsed import ParsedRequest
from inference.grammars import JsonObject, JsonSchema
from inference.refusals import invalid


class ChatRequest(ParsedRequest, frozen=True, kw_only=True):
    custom_tools: frozenset[str]
    include_usage: bool

    def param(self, field: str) -> str:
        return field

    def answer(self, request_id: str, *, model: str, created_s: int) -> ChatAnswer:
        return ChatAnswer(
            request_id,
            model=model,
            created_s=created_s,
            n=self.n,
            include_usage=self.include_usage,
            logprobs=self.sampling.logprobs is not None,
            custom_tools=self.custom_tools,
        )


def parse(body: bytes, header: Header) -> ChatRequest:
    """POST /v1/chat/completions. Raises Refusal (400) naming the field for everything that is wrong with it."""
    fields = wire.read(body)
    assert fields.model, "a body without one is not read"
    return ChatRequest(
        model=fields.model,
        messages=conversation(fields.messages or []),
        n=fields.n or 1,
        max_tokens=_stated_bound(fields),
        sampling=sampling(fields, logprobs=_logprobs(fields)),
        stop=stop_strings(fields.stop),
        tool_use=tool_use(fields.tools, fields.tool_choice, parallel=fields.parallel_tool_calls is not False),
        custom_tools=custom_names(fields.tools),
        grammar=_grammar(fields.response_format),
        template_kwargs=_template_kwargs(fields, header),
        stream=bool(fields.stream),
        include_usage=wants_usage(fields),
    )


def _stated_bound(fields: Body) -> int | None:
    """The smaller of the two names that OpenAI gave this bound (MISSION G14)."""
    stated = [bound for bound in (fields.max_completion_tokens, fields.max_tokens) if bound is not None]
    return min(*stated, UNBOUNDED) if stated else None


def _logprobs(fields: Body) -> int | None:
    if fields.logprobs:
        return fields.top_logprobs or 0
    if fields.top_logprobs:
        raise invalid("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
    return None


def _grammar(wanted: ResponseFormat | None) -> JsonObject | JsonSchema | None:
    """A schema that is left out takes any object."""
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return JsonObject()
    place = "response_format.json_schema"
    if wanted.json_schema is None:
        raise invalid(f"The field `{place}` is missing.", place)
    schema = bytes(wanted.json_schema.schema).decode().strip()
    if schema == "null":
        return JsonObject()
    if not schema.startswith("{"):
        raise invalid(f"The field `{place}.schema` must be an object.", f"{place}.schema")
    return JsonSchema(schema, strict=bool(wanted.json_schema.strict))


def _template_kwargs(fields: Body, header: Header) -> dict[str, Any]:
    effort, explicit = fields.reasoning_effort, fields.chat_template_kwargs
    wanted = (header(b"x-include-thinking") or b"").strip().lower() == b"true"
    seen = wanted or thinking.is_asked_for(effort, explicit)
    return thinking.template_kwargs(seen=seen, effort=effort, explicit=explicit)
