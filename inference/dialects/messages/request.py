"""Anthropic's Messages API, native: what a body asks for, as the gateway takes it (WIRE_APIS 4)."""

from __future__ import annotations

from typing import Any

from inference.dialects import thinking
from inference.dialects.dialect import Header
from inference.dialects.messages import body as wire
from inference.dialects.messages.body import Body, Format
from inference.dialects.messages.stream import MessagesAnswer
from inference.dialects.messages.tools import tool_use
from inference.dialects.messages.turns import conversation
from inference.dialects.parsed import ParsedRequest
from inference.grammars import JsonSchema
from inference.refusals import invalid
from inference.requests import Sampling

#: More stop sequences than this are refused: each is looked for in every piece of text.
MOST_STOP_SEQUENCES = 64

#: No model has a context like this; it keeps absurd bounds within what every part can count.
_UNBOUNDED = 2**31 - 1

#: What differs in name from Chat Completions. What a field of ours alone is called stays.
_PARAMS = {
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "output_config.effort",
}


class MessagesRequest(ParsedRequest, frozen=True, kw_only=True):
    shows_thinking: bool

    def param(self, field: str) -> str:
        return _PARAMS.get(field, field)

    def answer(self, request_id: str, *, model: str, created_s: int) -> MessagesAnswer:
        return MessagesAnswer(request_id, model=model, shows_thinking=self.shows_thinking)


def parse(body: bytes, header: Header) -> MessagesRequest:
    """POST /v1/messages. Raises Refusal (400) naming the field for everything that is wrong with it."""
    fields = wire.read(body)
    if fields.max_tokens is None:
        raise invalid("The field `max_tokens` is missing: say how long the answer may be.", "max_tokens")
    return request(fields, max_tokens=min(fields.max_tokens, _UNBOUNDED))


def request(fields: Body, *, max_tokens: int) -> MessagesRequest:
    """What the fields of a body come to. Raises Refusal (400)."""
    assert fields.model, "a body without one is not read"
    talk = conversation(fields.system, fields.messages or [])
    wanted = fields.thinking
    thinks = wanted is not None and wanted.type != "disabled"
    return MessagesRequest(
        model=fields.model,
        messages=talk.messages,
        max_tokens=max_tokens,
        continue_last=talk.continue_last,
        tool_use=tool_use(fields.tools, fields.tool_choice),
        grammar=_grammar(fields),
        sampling=_sampling(fields),
        stop=_stop_strings(fields.stop_sequences or []),
        stream=bool(fields.stream),
        shows_thinking=wanted is not None and thinks and wanted.display != "omitted",
        template_kwargs=_template_kwargs(fields, thinks=thinks),
    )


def _template_kwargs(fields: Body, *, thinks: bool) -> dict[str, Any]:
    effort = fields.output_config.effort if fields.output_config else None
    return thinking.template_kwargs(seen=thinks, effort=effort, explicit=fields.chat_template_kwargs)


def _sampling(fields: Body) -> Sampling:
    return Sampling(
        temperature=1.0 if fields.temperature is None else fields.temperature,
        top_p=1.0 if fields.top_p is None else fields.top_p,
        top_k=fields.top_k or 0,
    )


def _stop_strings(strings: list[str]) -> list[str]:
    if len(strings) > MOST_STOP_SEQUENCES:
        message = f"The field `stop_sequences` takes at most {MOST_STOP_SEQUENCES} strings; got {len(strings)}."
        raise invalid(message, "stop_sequences")
    return [string for string in strings if string]  # an empty one would stop everything: it says nothing


def _grammar(fields: Body) -> JsonSchema | None:
    if fields.output_config is not None and fields.output_config.format is not None:
        return _schema(fields.output_config.format, "output_config.format")
    return _schema(fields.output_format, "output_format") if fields.output_format is not None else None


def _schema(wanted: Format, at: str) -> JsonSchema:
    schema = wire.object_text(wanted.schema, f"{at}.schema")
    if schema is None:
        raise invalid(f"The field `{at}.schema` is missing.", f"{at}.schema")
    return JsonSchema(schema)
