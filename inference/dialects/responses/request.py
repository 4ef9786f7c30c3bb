"""A Responses request: what its body and the responses it continues come to, for the gateway and for a neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from inference.dialects import thinking
from inference.dialects.json_body import decode_part
from inference.dialects.openai.fields import UNBOUNDED
from inference.dialects.parsed import ParsedRequest, Terms
from inference.dialects.responses.answer import CountAnswer, ResponsesAnswer
from inference.dialects.responses.body import Body, Reasoning, grammar_of, is_there, read_body
from inference.dialects.responses.conversation import messages_of
from inference.dialects.responses.items import Item, Offer, Reference, Said, read_item
from inference.dialects.responses.output import Shown
from inference.dialects.responses.tools import Offered, Toolbox
from inference.refusals import invalid
from inference.requests import GenerationRequest, Sampling

_encode = msgspec.json.Encoder().encode

_any_item = msgspec.json.Decoder(dict[str, Any])

_PARAMS = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}


class ResponsesRequest(ParsedRequest, frozen=True, kw_only=True):
    """A parsed body with its conversation whole. `input_items` are its own items as they came, to be stored.

    `stated` holds the keys of the response object that say what was asked for. `live` is whether the client watches,
    which `stream` may be without. `prepared` is the answer that every attempt adds to, where somebody follows it from
    outside.
    """

    offered: dict[str, Offered]
    shown: Shown
    store: bool
    background: bool
    input_items: list[dict[str, Any]]
    stated: dict[str, Any]
    live: bool
    prepared: ResponsesAnswer | None = None

    @property
    def default_max_tokens(self) -> int | None:
        """What the context leaves (MISSION G14)."""
        return UNBOUNDED

    def param(self, field: str) -> str:
        return _PARAMS.get(field, field)

    def generation(self, terms: Terms) -> GenerationRequest:
        return msgspec.structs.replace(super().generation(terms), stream=self.live)

    def answer(self, request_id: str, *, model: str, created_s: int) -> ResponsesAnswer:
        if self.prepared is not None:
            return self.prepared
        made = CountAnswer if self.only_count else ResponsesAnswer
        return made(
            request_id.removeprefix("req_"),
            model=model,
            created_s=created_s,
            echo=self.stated,
            offered=self.offered,
            shown=self.shown,
            told=self.live or self.background,
        )


class Draft(msgspec.Struct, frozen=True):
    """A body that was read, before what it refers to is known."""

    body: Body
    items: list[dict[str, Any]]
    read: list[Item | None]

    @property
    def previous(self) -> str | None:
        return self.body.previous_response_id

    @property
    def references(self) -> list[str]:
        """Ids of stored items that the input names."""
        return [item.id for item in self.read if isinstance(item, Reference)]

    def complete(
        self,
        *,
        history: Sequence[msgspec.Raw] = (),
        referred: Mapping[str, msgspec.Raw] | None = None,
        only_count: bool = False,
        may_store: bool = True,
    ) -> ResponsesRequest:
        """The request, behind the items of `history` and with those it refers to. Raises Refusal (400)."""
        body, known = self.body, referred or {}
        own = [
            _any_item.decode(known[item.id]) if isinstance(item, Reference) and item.id in known else as_sent
            for as_sent, item in zip(self.items, self.read, strict=True)
        ]
        before = [read_item(raw, "previous_response_id") for raw in history]
        here = [_resolved(item, known) if isinstance(item, Reference) else item for item in self.read]
        items = [item for item in (*before, *here) if item is not None]
        toolbox = _toolbox(body, items)
        instructions: list[Item] = [Said("system", body.instructions)] if body.instructions else []
        messages = messages_of([*instructions, *items])
        if not items:
            raise invalid("The field `input` must be a text or a list of at least one item.", "input")
        tool_use = toolbox.use(body.tool_choice, parallel=body.parallel_tool_calls is not False)
        shown = _shown(body)
        return ResponsesRequest(
            model=body.model or "",
            stream=bool(body.stream) and not only_count,
            live=bool(body.stream),
            max_tokens=None if body.max_output_tokens is None else min(body.max_output_tokens, UNBOUNDED),
            messages=messages,
            truncate=body.truncation == "auto",
            tool_use=tool_use,
            offered=toolbox.offered,
            grammar=grammar_of(body.text),
            sampling=_sampling(body),
            template_kwargs=thinking.template_kwargs(
                seen=shown.reasoning,
                effort=body.reasoning.effort if body.reasoning else None,
                explicit=body.chat_template_kwargs,
            ),
            shown=shown,
            store=may_store and body.store is not False,
            background=bool(body.background),
            input_items=own,
            stated=_echo(body, stored=may_store and body.store is not False),
            only_count=only_count,
        )


def parse(body: bytes) -> Draft:
    """What a body says by itself. Raises Refusal (400) naming the field that is wrong; `complete` may find more."""
    fields = read_body(body)
    given = fields.input or []
    raws = [msgspec.Raw(_encode(user_message(given)))] if isinstance(given, str) else given
    places = [f"input[{index}]" for index in range(len(raws))]
    items = [decode_part(raw, _any_item, at) for raw, at in zip(raws, places, strict=True)]
    return Draft(fields, items, [read_item(raw, at) for raw, at in zip(raws, places, strict=True)])


def user_message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _resolved(reference: Reference, known: Mapping[str, msgspec.Raw]) -> Item | None:
    raw = known.get(reference.id)
    if raw is None:
        raise invalid(f"The item `{reference.at}` refers to `{reference.id}`, which is not stored.", reference.at)
    return read_item(raw, reference.at)


def _toolbox(body: Body, items: Sequence[Item]) -> Toolbox:
    toolbox = Toolbox()
    for item in items:
        if isinstance(item, Offer):
            toolbox.add(item.tools, f"{item.at}.tools")
    toolbox.add(body.tools or [], "tools")
    return toolbox


def _sampling(body: Body) -> Sampling:
    wants_logprobs = body.top_logprobs is not None or "message.output_text.logprobs" in (body.include or [])
    return Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        top_k=body.top_k or 0,
        min_p=body.min_p or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        repetition_penalty=1.0 if body.repetition_penalty is None else body.repetition_penalty,
        logprobs=(body.top_logprobs or 0) if wants_logprobs else None,
    )


def _shown(body: Body) -> Shown:
    """Whoever says `reasoning`, and not that there be none, sees it: as a summary where one is asked for."""
    reasoning = body.reasoning
    return Shown(
        reasoning=reasoning is not None and reasoning.effort != "none",
        as_summary=reasoning is not None and reasoning.summary is not None,
        sealed="reasoning.encrypted_content" in (body.include or []),
    )


def _echo(body: Body, *, stored: bool) -> dict[str, Any]:
    """The keys of the response object that repeat the request, every one of them."""
    text: dict[str, Any] = {"format": (body.text and body.text.format) or {"type": "text"}}
    if body.text and body.text.verbosity:
        text["verbosity"] = body.text.verbosity
    return {
        "background": bool(body.background),
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": None,
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": body.reasoning or Reasoning(),
        "store": stored,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": text,
        "tool_choice": body.tool_choice if is_there(body.tool_choice) else "auto",
        "tools": body.tools or [],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": body.truncation or "disabled",
        "user": body.user,
        "metadata": body.metadata or {},
    }
