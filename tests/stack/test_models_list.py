"""GET /v1/models lists what the fleet could serve and what each model is."""

from __future__ import annotations

import httpx
import pytest
from anthropic import Anthropic, NotFoundError
from openai import OpenAI

from tests.stack.running import Key, Stack, wait_until


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


@pytest.fixture
def odd(stack: Stack, key: Key, url: str) -> str:
    """A model whose id has to be encoded in a path, with a price."""
    stack.sql(
        "INSERT INTO fleet_profile (model_id, source, harness, pinned_on, created_at, input_price, output_price) VALUES"
        " ('org/odd name:tag', '/nowhere', 'torch', '{}', '2026-01-02T03:04:05Z', 250000000, 1000000000)"
        " ON CONFLICT DO NOTHING"
    )

    def listed() -> bool:
        models = httpx.get(f"{url}/v1/models", headers=key.headers).json()["data"]
        return any(model["id"] == "org/odd name:tag" for model in models)

    wait_until(listed, what="the model to be listed")
    return "org/odd name:tag"


def test_an_id_in_a_path_may_be_encoded_and_a_price_is_told_in_dollars(url: str, key: Key, odd: str) -> None:
    for path in ("org%2Fodd%20name%3Atag", "org/odd%20name:tag"):
        entry = httpx.get(f"{url}/v1/models/{path}", headers=key.headers).json()
        assert entry["id"] == odd
        assert entry["cost"] == {"input": 0.25, "output": 1.0, "cache_read": 0.25, "cache_write": 0.0}
    assert OpenAI(base_url=f"{url}/v1", api_key=key.secret).models.retrieve(odd).id == odd


def test_the_anthropic_sdk_gets_its_own_shape_page_by_page(url: str, key: Key, stack: Stack, odd: str) -> None:
    client = Anthropic(base_url=url, api_key=key.secret, max_retries=0)
    models = {model.id: model for model in client.models.list(limit=1)}
    assert set(models) >= {stack.model, odd}, "the SDK turned the pages"
    assert (models[stack.model].type, models[stack.model].display_name) == ("model", stack.model)
    tiny, nowhere = client.models.retrieve(stack.model), client.models.retrieve(odd)
    assert (tiny.max_input_tokens, nowhere.max_input_tokens) == (1536, None)
    assert nowhere.created_at.year == 2026
    with pytest.raises(NotFoundError) as refused:
        client.models.retrieve("no/such")
    assert refused.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]


def test_codex_finds_a_list_of_its_own_and_nobody_else_does(url: str, key: Key, stack: Stack) -> None:
    listing = httpx.get(f"{url}/v1/models?client_version=0.154.0", headers=key.headers).json()
    (entry,) = [model for model in listing["models"] if model["slug"] == stack.model]
    assert entry["context_window"] == 1536
    assert all(model["slug"] != "elsewhere" for model in listing["models"]), "what is not loaded has no context yet"
    assert {model["id"] for model in listing["data"]} >= {stack.model, "elsewhere"}
    assert "models" not in httpx.get(f"{url}/v1/models", headers=key.headers).json()
