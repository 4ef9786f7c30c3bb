"""Identity is the key alone: judged first, in either header, and everywhere within two seconds of a change."""

from __future__ import annotations

import json
import threading

import httpx
import pytest

from tests.models import LASTING
from tests.stack.running import PATIENCE_S, SOON_S, Key, Stack, wait_until


def models(url: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{url}/v1/models", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer sk-helexa-wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"x_api_key": "sk-helexa-wrong"},
        {"x_helexa_principal": "default"},
    ],
)
def test_no_key_or_a_wrong_one_is_401(url: str, headers: dict[str, str]) -> None:
    refused = models(url, **headers)
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_the_key_is_judged_before_the_body(url: str) -> None:
    assert httpx.post(f"{url}/v1/chat/completions", content=b"{").status_code == 401


def test_either_header_opens_and_x_api_key_wins(url: str, key: Key) -> None:
    good, bad = key.secret, "sk-helexa-wrong"
    assert models(url, authorization=f"bearer {good}").status_code == 200
    assert models(url, x_api_key=good).status_code == 200
    assert models(url, x_api_key=good, authorization=f"Bearer {bad}").status_code == 200
    assert models(url, x_api_key=bad, authorization=f"Bearer {good}").status_code == 401


def test_a_browser_may_ask_from_anywhere_without_a_key(url: str, key: Key) -> None:
    preflight = httpx.options(f"{url}/v1/chat/completions", headers={"origin": "https://a.example"})
    assert preflight.status_code == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = httpx.get(f"{url}/v1/models", headers={**key.headers, "origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


def test_a_key_for_other_models_sees_and_gets_only_those(stack: Stack, server: str, url: str) -> None:
    narrow = stack.issue_key("team", "--models", "elsewhere")
    assert [model["id"] for model in models(url, **narrow.headers).json()["data"]] == ["elsewhere"]
    assert stack.chat(server, narrow).json()["error"]["code"] == "model_not_found"
    assert httpx.get(f"{url}/v1/models/tiny", headers=narrow.headers).status_code == 404


def test_a_revoked_key_is_401_everywhere_within_two_seconds(stack: Stack) -> None:
    key = stack.issue_key()
    assert all(models(url, **key.headers).status_code == 200 for url in stack.gateways.values())
    stack.sql("UPDATE accounts_apikey SET revoked_at = now() WHERE key_id = %s", key.key_id)
    for url in stack.gateways.values():
        wait_until(
            lambda url=url: models(url, **key.headers).status_code == 401, limit_s=SOON_S, what="the key to be refused"
        )


def test_a_suspended_account_is_refused_and_what_it_runs_is_cancelled(stack: Stack, url: str, lasting: str) -> None:
    key = stack.issue_key("soon-suspended")
    body = {"model": lasting, "messages": [{"role": "user", "content": "hi"}], "max_tokens": LASTING, "stream": True}
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, headers=key.headers, timeout=PATIENCE_S
    ) as running:
        lines = running.iter_lines()
        next(lines)
        stack.sql("UPDATE accounts_account SET suspended_at = now() WHERE name = %s", "soon-suspended")
        rest = [line for line in lines if line]
    stack.sql("UPDATE accounts_account SET suspended_at = NULL WHERE name = %s", "soon-suspended")
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2].removeprefix("data: "))["error"]["code"] == "invalid_api_key"
    assert len(rest) < LASTING


def test_an_expired_key_is_401(stack: Stack, url: str) -> None:
    key = stack.issue_key()
    stack.sql("UPDATE accounts_apikey SET expires_at = now() - interval '1 second' WHERE key_id = %s", key.key_id)
    assert models(url, **key.headers).status_code == 401


def test_when_a_key_was_used_is_written_down(stack: Stack, url: str) -> None:
    import psycopg

    key = stack.issue_key()
    models(url, **key.headers)

    def used() -> bool:
        with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
            row = connection.execute(
                "SELECT last_used_at FROM accounts_apikey WHERE key_id = %s", [key.key_id]
            ).fetchone()
        return row is not None and row[0] is not None

    wait_until(used, what="last_used_at")


def test_a_thousand_requests_with_one_cold_key_are_all_answered(stack: Stack, url: str) -> None:
    key = stack.issue_key()
    statuses: list[int] = []

    def ask() -> None:
        with httpx.Client(headers=key.headers) as client:
            statuses.extend(client.get(f"{url}/v1/models").status_code for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 1000
