"""Completions as the SDK sees them: prompts without a template, from a real torch model."""

from __future__ import annotations

from typing import Any

import pytest
from openai import BadRequestError, OpenAI, RateLimitError

from tests.stack.running import Key, Stack


@pytest.fixture
def client(url: str, key: Key) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0)


@pytest.fixture
def asked(stack: Stack) -> dict[str, Any]:
    return {"model": stack.model, "prompt": "The river runs", "max_tokens": 12, "seed": 4}


def test_the_default_bound_is_sixteen_tokens(client: OpenAI, asked: dict[str, Any]) -> None:
    del asked["max_tokens"]
    answer = client.completions.create(**asked)
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (16, "length")


def test_choices_of_several_prompts_come_prompt_by_prompt_whole_and_streamed(
    client: OpenAI, asked: dict[str, Any]
) -> None:
    asked |= {"prompt": ["The river", "A token"], "n": 2}
    whole = client.completions.create(**asked)
    texts = [choice.text for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert whole.usage.completion_tokens == 4 * 12

    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    pieces = [choice for chunk in chunks for choice in chunk.choices]
    assert ["".join(one.text for one in pieces if one.index == index) for index in range(4)] == texts
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)

    alone = [client.completions.create(**{**asked, "prompt": prompt}) for prompt in asked["prompt"]]
    assert sum(answer.usage.prompt_tokens for answer in alone) == whole.usage.prompt_tokens


def test_tokens_are_a_prompt_like_their_text(client: OpenAI, asked: dict[str, Any]) -> None:
    asked |= {"prompt": [40, 41, 42], "echo": True, "max_tokens": 4, "temperature": 0}
    by_tokens = client.completions.create(**asked)
    assert by_tokens.usage.prompt_tokens == 3
    both = client.completions.create(**{**asked, "prompt": [[40, 41, 42], [50]]})
    assert both.choices[0].text == by_tokens.choices[0].text
    assert both.usage.prompt_tokens == 4


def test_echo_shows_the_prompt_and_scores_it(client: OpenAI, asked: dict[str, Any]) -> None:
    scored = client.completions.create(**{**asked, "max_tokens": 0}, echo=True, logprobs=2)
    told = scored.choices[0].logprobs
    assert scored.choices[0].text == "The river runs"
    assert "".join(told.tokens) == "The river runs"
    assert told.token_logprobs[0] is None
    assert all(logprob < 0 for logprob in told.token_logprobs[1:])
    assert told.text_offset == [len("".join(told.tokens[:count])) for count in range(len(told.tokens))]
    assert (scored.usage.completion_tokens, scored.usage.prompt_tokens) == (0, len(told.tokens))

    answered = client.completions.create(**asked, echo=True, logprobs=2)
    assert answered.choices[0].text.startswith("The river runs")
    assert answered.choices[0].logprobs.token_logprobs[: len(told.tokens)] == told.token_logprobs
    chunks = list(client.completions.create(**asked, echo=True, logprobs=2, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == answered.choices[0].text
    offsets = [offset for chunk in chunks if (part := chunk.choices[0].logprobs) for offset in part.text_offset]
    assert offsets == answered.choices[0].logprobs.text_offset


def test_the_best_of_several_is_the_likeliest_and_all_are_paid(client: OpenAI, asked: dict[str, Any]) -> None:
    asked |= {"logprobs": 0, "temperature": 1.5}
    best = client.completions.create(**asked, best_of=4)
    means = [_mean(choice.logprobs.token_logprobs) for choice in client.completions.create(**asked, n=4).choices]
    assert _mean(best.choices[0].logprobs.token_logprobs) == pytest.approx(max(means))
    assert best.usage.completion_tokens == 4 * 12


def _mean(logprobs: list[float]) -> float:
    return sum(logprobs) / len(logprobs)


def test_a_prompt_that_is_too_long_is_named_as_such(client: OpenAI, asked: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="maximum context length is 1536 tokens") as refused:
        client.completions.create(**{**asked, "prompt": ["short", "river " * 4000]})
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "prompt")
    with pytest.raises(BadRequestError) as refused:
        client.completions.create(**{**asked, "prompt": [99999]})
    assert refused.value.param == "prompt"


def test_every_answer_of_every_prompt_is_reserved_before_any_is_made(stack: Stack, url: str, server: str) -> None:
    key = stack.issue_key("prompts", "--cap", "200")
    client = OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0)
    asked: dict[str, Any] = {"model": stack.model, "prompt": ["a", "b"], "max_tokens": 20}
    with pytest.raises(RateLimitError):
        client.completions.create(**asked, n=2, best_of=6)
    answer = client.completions.create(**asked, n=2)
    spent = stack.rows(
        "SELECT b.spent, b.reserved FROM accounts_budget b JOIN accounts_apikey k ON k.id = b.key_id"
        " WHERE k.key_id = %s AND b.unit = 'tokens'",
        key.key_id,
    )
    assert spent == [(answer.usage.total_tokens, 0)]
    assert answer.usage.completion_tokens == 80
