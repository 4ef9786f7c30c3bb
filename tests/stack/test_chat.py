"""A chat completion, as SDKs and plain HTTP clients see it, from a real torch model."""

from __future__ import annotations

import json

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.stack.running import Key, Stack

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(url: str, key: Key) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0)


def events(response: httpx.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]


def test_the_sdk_streams_in_many_pieces(client: OpenAI, stack: Stack) -> None:
    stream = client.chat.completions.create(model=stack.model, messages=HELLO, max_tokens=40, stream=True)  # type: ignore[call-overload]
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(pieces) > 8
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 40


async def test_the_async_sdk_gets_usage_in_a_chunk_of_its_own(url: str, key: Key, stack: Stack) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0) as client:
        stream = await client.chat.completions.create(  # type: ignore[call-overload]
            model=stack.model, messages=HELLO, max_tokens=5, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 5
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_stream_helper_of_the_sdk_is_content(client: OpenAI, stack: Stack, server: str, key: Key) -> None:
    whole = stack.chat(server, key, temperature=0, max_tokens=40).json()["choices"][0]["message"]["content"]
    asked = {"model": stack.model, "messages": HELLO, "temperature": 0, "stop": whole[10:13]}
    with client.chat.completions.stream(**asked) as stream:  # type: ignore[arg-type]
        final = stream.until_done().get_final_completion()
    assert final.choices[0].message.content == whole[: whole.index(whole[10:13])]
    assert final.choices[0].message.role == "assistant"


def test_a_whole_answer_equals_its_stream(stack: Stack, server: str, key: Key) -> None:
    fields = {"temperature": 0, "max_tokens": 30}
    whole = stack.chat(server, key, **fields).json()
    streamed = events(stack.chat(server, key, stream=True, **fields))
    texts = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in streamed[:-1]]
    assert "".join(texts) == whole["choices"][0]["message"]["content"]
    assert whole["usage"]["completion_tokens"] == 30
    assert json.loads(streamed[-2])["usage"] == whole["usage"]
    assert streamed[-1] == "[DONE]"


def test_a_seed_repeats_an_answer_and_another_seed_changes_it(stack: Stack, server: str, key: Key) -> None:
    def text(seed: int) -> str:
        answer: str = stack.chat(server, key, seed=seed, max_tokens=24).json()["choices"][0]["message"]["content"]
        return answer

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_a_stop_string_ends_the_answer_and_is_not_in_it(stack: Stack, server: str, key: Key) -> None:
    whole = stack.chat(server, key, temperature=0, max_tokens=40).json()["choices"][0]["message"]["content"]
    stop = whole[10:13]
    stopped = stack.chat(server, key, temperature=0, max_tokens=40, stop=stop).json()["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stopped["message"]["content"] == whole[: whole.index(stop)]


def test_many_at_once_are_all_answered(stack: Stack, server: str, key: Key) -> None:
    import concurrent.futures as futures

    with futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda seed: stack.chat(server, key, seed=seed, max_tokens=10), range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.json()["usage"]["completion_tokens"] for answer in answers} == {10}


def test_every_answer_has_a_request_id_of_ours(url: str, key: Key) -> None:
    headers = {**key.headers, "x-request-id": "mine"}
    ids = [
        httpx.get(url + path, headers=headers).headers["x-request-id"]
        for path in ("/v1/models", "/v1/no", "/health", "/", "/admin/")
    ]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith("req_") for one in ids)


def test_a_prompt_over_the_limit_is_400_in_the_words_clients_search_for(stack: Stack, server: str, key: Key) -> None:
    refused = stack.chat(server, key, messages=[{"role": "user", "content": "river " * 4000}], stream=True)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")
    assert error["message"].startswith(
        "This model's maximum context length is 1536 tokens. However, your messages resulted in "
    )
    assert error["prompt_len"] > error["max"] == 1536
