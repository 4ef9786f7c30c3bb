"""What a key's caps mean to its clients: never a token more, refused before any work, and billed as told."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from fleet.reports import control_stream
from inference import wire
from tests.models import LASTING
from tests.stack.running import Key, Stack, wait_until


@pytest.fixture
def ledger(stack: Stack) -> Any:
    def booked(response: httpx.Response) -> dict[str, Any]:
        return json.loads(stack.manage("audit_ledger", "--request", response.headers["x-request-id"], "--json"))

    return booked


def spent(stack: Stack, key: Key) -> tuple[int, int]:
    """(spent, reserved) of a key's token budget."""
    return stack.rows(
        "SELECT b.spent, b.reserved FROM accounts_budget b JOIN accounts_apikey k ON k.id = b.key_id "
        "WHERE k.key_id = %s AND b.unit = 'tokens'",
        key.key_id,
    )[0]


def total(response: httpx.Response) -> int:
    return int(response.json()["usage"]["total_tokens"])


def test_what_a_client_is_told_is_what_its_key_has_spent(stack: Stack, server: str) -> None:
    key = stack.issue_key("billed", "--cap", "1000")
    answers = [stack.chat(server, key, max_tokens=5) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert spent(stack, key) == (sum(map(total, answers)), 0)


def test_a_stated_bound_that_does_not_fit_is_refused_and_says_why(stack: Stack, server: str) -> None:
    key = stack.issue_key("refused", "--cap", "50")
    answer = stack.chat(server, key, max_tokens=60)
    error = answer.json()["error"]
    assert answer.status_code == 429
    assert error["code"] == error["type"] == "insufficient_quota"
    assert (error["cap"], error["spent"], error["reserved"]) == (50, 0, 0)
    assert "retry-after" not in answer.headers
    assert answer.headers["x-should-retry"] == "false"
    assert spent(stack, key) == (0, 0)


def test_the_same_refusal_is_a_plain_status_for_a_stream(stack: Stack, server: str) -> None:
    key = stack.issue_key("refused", "--cap", "50")
    answer = stack.chat(server, key, max_tokens=60, stream=True)
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/json"


def test_a_bound_that_was_not_stated_shrinks_to_what_is_left(stack: Stack, server: str) -> None:
    key = stack.issue_key("shrunk", "--cap", "40")
    answer = stack.chat(server, key, max_tokens=None, seed=1, temperature=2.0)
    assert answer.status_code == 200
    assert total(answer) <= 40
    assert spent(stack, key) == (total(answer), 0)


def test_an_estimate_that_is_too_high_refuses_nobody(stack: Stack, server: str) -> None:
    """The body has many more bytes than its prompt has tokens; the exact count fits the cap."""
    key = stack.issue_key("estimated", "--cap", "60")
    answer = stack.chat(server, key, max_tokens=5, metadata={"padding": "x" * 4000})
    assert answer.status_code == 200
    assert spent(stack, key) == (total(answer), 0)


def test_an_exact_count_over_the_estimate_extends_the_reservation(stack: Stack, server: str) -> None:
    """Each of these characters is more tokens than bytes / 4."""
    message = [{"role": "user", "content": "☃" * 40}]
    key = stack.issue_key("extended", "--cap", "2000")
    answer = stack.chat(server, key, messages=message, max_tokens=5)
    assert answer.status_code == 200
    prompt = answer.json()["usage"]["prompt_tokens"]
    assert spent(stack, key) == (total(answer), 0)
    tight = stack.issue_key("extended", "--cap", str(prompt + 4))
    refused = stack.chat(server, tight, messages=message, max_tokens=5)
    assert refused.status_code == 429
    assert refused.json()["error"]["needed"] == prompt + 5
    assert spent(stack, tight) == (0, 0)


def test_a_fan_out_drains_a_cap_and_never_passes_it(stack: Stack, server: str) -> None:
    key = stack.issue_key("fan-out", "--cap", "150")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: stack.chat(server, key, max_tokens=20), range(20)))
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    billed = sum(total(answer) for answer in answers if answer.status_code == 200)
    assert spent(stack, key) == (billed, 0)
    assert billed <= 150


def test_choices_share_one_reservation(stack: Stack, server: str) -> None:
    key = stack.issue_key("choices", "--cap", "500")
    answer = stack.chat(server, key, max_tokens=6, n=3)
    assert len(answer.json()["choices"]) == 3
    assert spent(stack, key) == (total(answer), 0)


def test_the_account_cap_binds_all_its_keys(stack: Stack, server: str) -> None:
    first = stack.issue_key(f"shared-cap-{server}", "--account-cap", "60")
    second = stack.issue_key(f"shared-cap-{server}")
    assert stack.chat(server, first, max_tokens=5).status_code == 200
    refused = stack.chat(server, second, max_tokens=100)
    assert refused.status_code == 429
    assert refused.json()["error"]["cap_of"] == "account"


def test_a_window_that_resets_says_when_to_come_back(stack: Stack, server: str) -> None:
    key = stack.issue_key("rolling", "--cap", "60", "--window", "rolling:3600")
    assert stack.chat(server, key, max_tokens=20).status_code == 200
    while (answer := stack.chat(server, key, max_tokens=20)).status_code == 200:
        pass
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert 3000 < int(answer.headers["retry-after"]) <= 3600
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["resets_at"]


def test_dollars_are_capped_at_the_prices_of_the_catalogue(stack: Stack, server: str) -> None:
    key = stack.issue_key("dollars", "--cap-usd", "0.001")
    unpriced = stack.chat(server, key, max_tokens=5)
    assert unpriced.status_code == 429
    assert unpriced.json()["error"]["code"] == "insufficient_quota"
    stack.manage("catalogue", "price", stack.model, "--input", "1", "--output", "2")
    try:
        wait_until(lambda: stack.chat(server, key, max_tokens=5).status_code == 200, what="the price to be known")
        refused = stack.chat(server, key, max_tokens=1000)
        assert refused.status_code == 429
        assert refused.json()["error"]["unit"] == "nano_usd"
    finally:
        stack.sql("UPDATE fleet_profile SET input_price = NULL, output_price = NULL")


def test_an_uncapped_key_is_metered_all_the_same(stack: Stack, server: str, ledger: Any) -> None:
    key = stack.issue_key("uncapped")
    answer = stack.chat(server, key, max_tokens=5)
    assert str(total(answer)) in json.dumps(ledger(answer))


def test_a_client_that_leaves_pays_for_what_was_generated(stack: Stack, url: str, server: str) -> None:
    key = stack.issue_key("left", "--cap", "5000")
    body = {
        "model": stack.model,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 2000,
        "stream": True,
        "temperature": 2.0,
    }
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=key.headers, timeout=60) as stream:
        for _ in zip(range(5), stream.iter_lines(), strict=False):
            pass
    wait_until(lambda: spent(stack, key)[1] == 0, what="the reservation to be closed")
    assert 0 < spent(stack, key)[0] < 2000


def test_an_answer_that_its_neuron_gave_up_is_an_error_and_billed_for_what_was_sent(
    stack: Stack, url: str, lasting: str
) -> None:
    """Never the look of a whole answer: a neuron that is told to stop ends what it runs as cancelled."""
    key = stack.issue_key("given-up", "--cap", str(2 * LASTING))
    body = {"model": lasting, "messages": [{"role": "user", "content": "hello"}], "max_tokens": LASTING}
    asked = {"json": {**body, "stream": True}, "headers": key.headers, "timeout": 60}
    with httpx.stream("POST", f"{url}/v1/chat/completions", **asked) as stream:
        lines = stream.iter_lines()
        for _ in zip(range(5), lines, strict=False):
            pass
        attempt = wire.attempt_id(stream.headers["x-request-id"].removeprefix("req_"), 0)
        with redis.Redis.from_url(stack.environment["REDIS_URL"]) as client:
            client.xadd(control_stream(stack.neuron_name), {wire.CANCEL_FIELD: wire.encode_ids([attempt])})
        last = [line for line in lines if line][-2:]
    error = json.loads(last[0].removeprefix("data: "))["error"]
    assert (error["code"], last[1]) == ("service_unavailable", "data: [DONE]")
    wait_until(lambda: spent(stack, key)[1] == 0, what="the reservation to be closed")
    assert 0 < spent(stack, key)[0] < LASTING


def test_the_books_add_up_after_all_this(stack: Stack) -> None:
    audit = json.loads(stack.manage("audit_ledger", "--json"))
    assert audit["ok"], audit
    assert audit["differences"] == []


def test_requests_are_recorded_without_their_bodies(stack: Stack, server: str) -> None:
    key = stack.issue_key("recorded")
    answer = stack.chat(server, key, max_tokens=5)
    wait_until(
        lambda: stack.rows(
            "SELECT 1 FROM accounts_requestrecord WHERE request_id = %s", answer.headers["x-request-id"]
        ),
        what="the record to be written",
    )
    ((status, dialect, prompt, completion),) = stack.rows(
        "SELECT status, dialect, prompt_tokens, completion_tokens FROM accounts_requestrecord WHERE request_id = %s",
        answer.headers["x-request-id"],
    )
    usage = answer.json()["usage"]
    assert (status, dialect) == (200, "openai-chat")
    assert (prompt, completion) == (usage["prompt_tokens"], usage["completion_tokens"])
