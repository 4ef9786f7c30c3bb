"""Requests and events are the same on both sides of the wire."""

from __future__ import annotations

import math

import msgspec
import pytest

from inference import wire
from inference.events import Event, Failed, PromptLogprobs, Text, TokenLogprob
from inference.grammars import Grammar, JsonObject, JsonSchema, Lark, Regex
from inference.requests import GenerationRequest, Sampling

#: Deeper than a decoder may go.
DEEP = '{"items": ' * 100_000 + "{}" + "}" * 100_000


@pytest.mark.parametrize(
    "grammar",
    [
        None,
        JsonObject(),
        JsonSchema('{"type": "string"}', strict=True),
        JsonSchema(DEEP),
        Regex("a|ü"),
        Lark('start: "a"'),
    ],
)
def test_a_request_arrives_as_it_was_sent(grammar: Grammar | None) -> None:
    request = GenerationRequest(
        id="r.0",
        model="m",
        prompts=[[1, 2]],
        grammar=grammar,
        ignore_eos=True,
        stop_token_ids=[7],
        prompt_logprobs=0,
        account="a",
        sampling=Sampling(logit_bias={3: -1.5}, logprobs=2),
    )
    orders = [
        wire.Order("g", "b", request),
        wire.Order("g", "b", GenerationRequest(id="s.0", model="m", prompts=["x"])),
    ]
    assert wire.decode_orders(wire.together(map(wire.encode_order, orders))) == orders


@pytest.mark.parametrize(
    "event",
    [
        Text("a", 1, 2, [TokenLogprob(3, b"\xf0\x9f", -math.inf, [TokenLogprob(4, b"b", -0.5)])]),
        PromptLogprobs([TokenLogprob(3, b"a", None), TokenLogprob(4, b"b", -1.0)]),
        Failed("invalid_value", "no", param="tools"),
    ],
)
def test_an_event_arrives_as_it_was_sent(event: Event) -> None:
    assert wire.decode_published(wire.encode_published([("r.0", 0, event)])) == [("r.0", 0, event)]


def test_a_text_without_log_probabilities_is_small() -> None:
    assert len(msgspec.msgpack.encode(Text("a", 1))) <= 7
