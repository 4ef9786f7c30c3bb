"""GET /v1/models lists what the fleet could serve and what each model is."""

from __future__ import annotations

import httpx
from openai import OpenAI

from tests.stack.running import Key, Stack


def test_the_sdk_lists_and_retrieves(url: str, key: Key, stack: Stack) -> None:
    client = OpenAI(base_url=f"{url}/v1", api_key=key.secret)
    assert {model.id for model in client.models.list()} >= {stack.model, "elsewhere"}  # and what other tests added
    assert client.models.retrieve(stack.model).owned_by == "helexa"


def test_an_entry_says_where_the_model_is_and_what_it_can(url: str, key: Key, stack: Stack) -> None:
    entry = httpx.get(f"{url}/v1/models/{stack.model}", headers=key.headers).json()
    assert entry["status"] == "loaded"
    assert entry["loaded"] is True
    assert entry["locations"] == [{"node": stack.neuron_name, "status": "loaded"}]
    assert entry["capabilities"] == ["text"]
    assert entry["chat_template"] == "model"
    assert isinstance(entry["tool_call"], bool)
    limit = entry["limit"]
    assert limit["context"] == limit["input"] + limit["output"] == 2048
    assert "max_model_len" not in entry


def test_a_model_of_the_catalogue_that_is_nowhere_is_listed_as_unloaded(url: str, key: Key) -> None:
    entry = httpx.get(f"{url}/v1/models/elsewhere", headers=key.headers).json()
    assert (entry["status"], entry["loaded"], entry["locations"]) == ("unloaded", False, [])
    assert "limit" not in entry


def test_an_unknown_model_is_404(url: str, key: Key) -> None:
    assert httpx.get(f"{url}/v1/models/no%2Fsuch:tag", headers=key.headers).json()["error"]["code"] == "model_not_found"


def test_head_has_the_headers_and_no_body(url: str, key: Key) -> None:
    answer = httpx.head(f"{url}/v1/models", headers=key.headers)
    assert (answer.status_code, answer.content) == (200, b"")
