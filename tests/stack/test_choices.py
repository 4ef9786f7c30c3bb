"""Several choices of one request, as the SDK sees them, from a real torch model."""

from __future__ import annotations

import pytest
from openai import OpenAI

from tests.stack.running import Key, Stack

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(url: str, key: Key) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0)


def test_three_choices_come_whole_and_streamed_and_their_usage_adds_up(client: OpenAI, stack: Stack) -> None:
    asked = {"model": stack.model, "messages": HELLO, "n": 3, "max_tokens": 12, "seed": 4}
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    texts = [choice.message.content for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert [choice.finish_reason for choice in whole.choices] == ["length"] * 3
    assert len(set(texts)) == 3

    chunks = list(client.chat.completions.create(**asked, stream=True))  # type: ignore[call-overload]
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    deltas = [chunk.choices[0] for chunk in chunks]
    assert [choice.index for choice in deltas if choice.delta.role] == [0, 1, 2]
    streamed = ["".join(one.delta.content or "" for one in deltas if one.index == index) for index in range(3)]
    assert streamed == texts
    assert sorted(choice.index for choice in deltas if choice.finish_reason) == [0, 1, 2]
    assert chunks[-1].usage == whole.usage

    alone = client.chat.completions.create(**{**asked, "n": 1})  # type: ignore[call-overload]
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (alone.usage.prompt_tokens, 3 * 12)
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert alone.choices[0].message.content == texts[0]


def test_the_stream_helper_of_the_sdk_puts_three_choices_together(client: OpenAI, stack: Stack) -> None:
    with client.chat.completions.stream(model=stack.model, messages=HELLO, n=3, max_tokens=12, seed=4) as stream:  # type: ignore[arg-type]
        choices = [(chunk.chunk.choices[0].index) for chunk in stream if chunk.type == "chunk"]
        snapshot = stream.current_completion_snapshot
    assert set(choices) == {0, 1, 2}
    assert len({choice.message.content for choice in snapshot.choices}) == 3


@pytest.mark.parametrize("n", [0, 129])
def test_no_choice_and_too_many_are_refused_by_name(stack: Stack, server: str, key: Key, n: int) -> None:
    refused = stack.chat(server, key, n=n)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")


def test_more_choices_than_the_neuron_runs_at_once_all_come(stack: Stack, server: str, key: Key) -> None:
    answer = stack.chat(server, key, n=20, max_tokens=4).json()
    assert [choice["index"] for choice in answer["choices"]] == list(range(20))
    assert answer["usage"]["completion_tokens"] == 80
