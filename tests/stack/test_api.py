"""/api/ as gateways serve it, under both servers."""

from __future__ import annotations

import httpx
import pytest

from tests.stack.running import Key, Stack, wait_until


@pytest.fixture(scope="session")
def operator(stack: Stack, key: Key) -> Key:
    return stack.issue_key("operations", "--scope", "operator")


def test_me_answers_a_key_of_scope_inference(url: str, key: Key) -> None:
    answer = httpx.get(f"{url}/api/me", headers=key.headers)
    assert answer.status_code == 200
    assert answer.json()["name"] == key.key_id
    assert answer.headers["x-request-id"].startswith("req_")
    assert httpx.get(f"{url}/api/keys", headers=key.headers).status_code == 403
    assert httpx.get(f"{url}/api/me").status_code == 401


def test_what_a_request_was_billed_is_found_by_its_id(
    stack: Stack, server: str, url: str, key: Key, operator: Key
) -> None:
    answer = stack.chat(server, key)
    assert answer.status_code == 200
    query = {"request_id": answer.headers["x-request-id"]}

    def billed() -> list[dict[str, object]]:
        found: list[dict[str, object]] = httpx.get(f"{url}/api/entries", params=query, headers=operator.headers).json()[
            "results"
        ]
        return found

    (entry,) = wait_until(billed, what="the entry")
    usage = answer.json()["usage"]
    assert (entry["kind"], entry["key"], entry["tokens"]) == ("usage", key.key_id, usage["total_tokens"])
    assert (entry["prompt_tokens"], entry["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])


def test_the_fleet_is_shown_live(stack: Stack, url: str, operator: Key) -> None:
    (neuron,) = httpx.get(f"{url}/api/neurons", headers=operator.headers).json()
    assert (neuron["name"], neuron["healthy"]) == (stack.neuron_name, True)
    models = {model["id"]: model for model in httpx.get(f"{url}/api/models", headers=operator.headers).json()}
    assert models[stack.model]["locations"][0]["status"] == "loaded"
    order = {"model": stack.model}
    answer = httpx.post(f"{url}/api/load", headers=operator.headers, json=order)
    assert (answer.status_code, answer.json()["status"]) == (202, "loaded")


def test_the_schema_is_served_to_everybody(url: str) -> None:
    assert "/api/entries" in httpx.get(f"{url}/api/schema/").text
