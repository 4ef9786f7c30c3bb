"""What a Chat Completions request can say about its answer, as the SDK says it, to a real torch model."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from openai import BadRequestError, OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from tests.stack.running import Key, Stack, wait_until

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "size": {"enum": [1, 2]}},
    "required": ["colour", "size"],
    "additionalProperties": False,
}


class Shirt(BaseModel):
    colour: Literal["red", "blue"]
    size: Literal[1, 2]


@pytest.fixture
def client(url: str, key: Key) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0)


@pytest.fixture
def asked(stack: Stack) -> dict[str, Any]:
    return {
        "model": stack.model,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 24,
        "temperature": 0,
    }


def text(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


def test_every_token_comes_with_its_log_probability_and_the_likeliest(client: OpenAI, asked: dict[str, Any]) -> None:
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3)
    tokens = whole.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode(errors="replace") == text(whole)
    assert len(tokens) == 24
    for token in tokens:
        likeliest = [top.logprob for top in token.top_logprobs]
        assert likeliest == sorted(likeliest, reverse=True)
        assert (len(likeliest), token.logprob) == (3, likeliest[0]), "greedy takes the likeliest"

    chunks = list(client.chat.completions.create(**asked, logprobs=True, top_logprobs=3, stream=True))
    streamed = [token for chunk in chunks if (told := chunk.choices[0].logprobs) for token in told.content]
    assert [token.bytes for token in streamed] == [token.bytes for token in tokens]
    for token, again in zip(tokens, streamed, strict=True):  # as far as half precision says the same twice
        assert token.logprob == pytest.approx(again.logprob, abs=0.1)
    assert client.chat.completions.create(**asked).choices[0].logprobs is None


def test_a_bias_makes_a_token_certain_or_impossible(client: OpenAI, asked: dict[str, Any]) -> None:
    certain = text(client.chat.completions.create(**asked, logit_bias={"40": 100}))
    assert len(set(certain)) <= 2, "one token again and again"
    impossible = text(client.chat.completions.create(**asked, logit_bias={"40": -100}))
    assert certain[0] not in impossible or certain != impossible


def test_penalties_and_vendor_extras_change_what_is_chosen(client: OpenAI, asked: dict[str, Any]) -> None:
    greedy = text(client.chat.completions.create(**asked))
    warm = {**asked, "temperature": 2.0, "seed": 3}
    assert text(client.chat.completions.create(**warm, extra_body={"top_k": 1})) == greedy
    assert text(client.chat.completions.create(**warm, extra_body={"min_p": 1.0})) == greedy
    assert text(client.chat.completions.create(**warm, top_p=0.0)) == greedy
    biased = {**asked, "logit_bias": {"40": 12}}
    repeated = text(client.chat.completions.create(**biased))
    for penalty in ({"frequency_penalty": 2}, {"extra_body": {"repetition_penalty": 2}}):
        assert text(client.chat.completions.create(**biased, **penalty)) != repeated


#: Of an answer in JSON, where a model that knows nothing may write forty spaces at each place.
SPACIOUS = 400


def test_a_schema_is_kept_to_and_parsed_by_the_sdk(client: OpenAI, asked: dict[str, Any]) -> None:
    plain = {name: value for name, value in asked.items() if name != "max_tokens"}
    parsed = client.chat.completions.parse(**plain, response_format=Shirt, max_tokens=SPACIOUS)
    assert isinstance(parsed.choices[0].message.parsed, Shirt)
    assert parsed.choices[0].finish_reason == "stop"
    with client.chat.completions.stream(**plain, response_format=Shirt, max_tokens=SPACIOUS) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed.choices[0].message.parsed


def test_json_is_an_object_also_where_its_schema_is_not_strict(client: OpenAI, asked: dict[str, Any]) -> None:
    asked["max_tokens"] = SPACIOUS
    wanted = {"type": "json_schema", "json_schema": {"name": "shirt", "schema": SCHEMA}}
    assert Shirt.model_validate_json(text(client.chat.completions.create(**asked, response_format=wanted)))
    anything = text(client.chat.completions.create(**asked, response_format={"type": "json_object"}))
    assert anything.lstrip().startswith("{")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logit_bias": {"99999": 1}}, "logit_bias"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "strict": True, "schema": {"$ref": "#/nowhere"}},
                }
            },
            "response_format",
        ),
        ({"extra_body": {"chat_template_kwargs": {"messages": []}}}, "chat_template_kwargs"),
    ],
)
def test_what_only_the_model_can_judge_is_400_and_named(
    client: OpenAI, asked: dict[str, Any], fields: dict[str, Any], param: str
) -> None:
    for stream in (False, True):
        with pytest.raises(BadRequestError) as refused:
            client.chat.completions.create(**asked, **fields, stream=stream)
        assert refused.value.param == param


def test_tools_that_may_not_be_called_change_nothing(client: OpenAI, asked: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    without = client.chat.completions.create(**asked)
    forbidden = client.chat.completions.create(**asked, tools=tools, tool_choice="none")
    assert text(forbidden) == text(without)
    assert forbidden.usage.prompt_tokens == without.usage.prompt_tokens
    assert client.chat.completions.create(**asked, tools=tools).usage.prompt_tokens > without.usage.prompt_tokens


def test_roles_that_strict_templates_reject_are_fine(client: OpenAI, asked: dict[str, Any]) -> None:
    asked["messages"] = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "user", "content": "three"},
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": ""},
    ]
    assert client.chat.completions.create(**asked).usage.completion_tokens == 24


def test_the_log_says_what_was_asked_and_how_it_went(
    stack: Stack, server: str, client: OpenAI, asked: dict[str, Any]
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]
    tools = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]
    answer = client.chat.completions.create(**{**asked, "messages": [*asked["messages"], *history]}, tools=tools)

    def line() -> dict[str, Any] | None:
        lines = (line for line in stack.log(server).read_text().splitlines() if str(answer._request_id) in line)
        return next((said for said in map(json.loads, lines) if said["event"] == "request"), None)

    said = wait_until(line, what="the request's line in the log")
    assert said is not None
    assert (said["dialect"], said["model"], said["node"]) == ("openai-chat", stack.model, stack.neuron_name)
    assert (said["stream"], said["tools"], said["tool_history"], said["tool_call"]) == (False, 2, True, False)
    assert said["finish_reason"] == "length"
