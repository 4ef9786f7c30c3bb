"""Models in the shapes that clients read, and what is left of a budget in their headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts.booking.operations import TokensLeft
from inference.dialects.messages import models as anthropic_models
from inference.dialects.openai import codex_models
from inference.gateway import rate_limits
from inference.gateway.rate_limits import duration
from inference.refusals import Refusal

IDS = [f"m{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("query", "found", "has_more"),
    [
        ({}, IDS, False),
        ({"limit": "1000"}, IDS, False),
        ({"limit": "2"}, ["m0", "m1"], True),
        ({"limit": "2", "after_id": "m1"}, ["m2", "m3"], True),
        ({"limit": "2", "after_id": "m2"}, ["m3", "m4"], False),
        ({"after_id": "m4"}, [], False),
        ({"limit": "2", "before_id": "m3"}, ["m1", "m2"], True),
        ({"limit": "3", "before_id": "m3"}, ["m0", "m1", "m2"], False),
        ({"before_id": "m0"}, [], False),
        ({"beta": "true"}, IDS, False),
    ],
)
def test_a_page_holds_what_was_asked_for(query: dict[str, str], found: list[str], has_more: bool) -> None:
    page = anthropic_models.page(IDS, {name: [value] for name, value in query.items()})
    assert page == (found, has_more)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"limit": "١"}, "limit"),
        ({"after_id": "nobody"}, "after_id"),
        ({"before_id": ""}, "before_id"),
    ],
)
def test_a_query_that_makes_no_sense_is_400_and_named(query: dict[str, str], param: str) -> None:
    with pytest.raises(Refusal) as refused:
        anthropic_models.page(IDS, {name: [value] for name, value in query.items()})
    assert (refused.value.status, refused.value.param) == (400, param)


def test_a_list_of_nothing_has_neither_a_first_nor_a_last() -> None:
    empty = anthropic_models.listing([], has_more=False)
    assert empty == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_codex_gets_every_field_that_its_reader_insists_on() -> None:
    needed = (
        "slug display_name description supported_reasoning_levels shell_type visibility supported_in_api priority"
        " availability_nux upgrade base_instructions supports_reasoning_summaries support_verbosity default_verbosity"
        " apply_patch_tool_type truncation_policy supports_parallel_tool_calls context_window"
        " experimental_supported_tools input_modalities default_reasoning_level"
    )
    for reasoning in (True, False):
        entry = codex_models.entry("m", priority=3, input_tokens=1536, reasoning=reasoning, tool_call=True)
        assert set(needed.split()) == set(entry)
        assert (entry["context_window"], entry["visibility"]) == (1536, "list")
        assert bool(entry["supported_reasoning_levels"]) is reasoning


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "0s"), (1, "1s"), (60, "1m0s"), (360, "6m0s"), (93_780, "26h3m0s")]
)
def test_a_duration_is_written_as_openai_does(seconds: int, written: str) -> None:
    assert duration(seconds) == written


def test_what_is_left_is_said_in_the_dialects_own_headers() -> None:
    window = TokensLeft(1000, 64, datetime.now(UTC) + timedelta(hours=30))
    openai = {name.decode(): value.decode() for name, value in rate_limits.headers(window, anthropic=False)}
    assert (openai["x-ratelimit-limit-tokens"], openai["x-ratelimit-remaining-tokens"]) == ("1000", "64")
    assert openai["x-ratelimit-reset-tokens"].startswith(("29h59m", "30h0m"))
    anthropic = {name.decode(): value.decode() for name, value in rate_limits.headers(window, anthropic=True)}
    assert anthropic["anthropic-ratelimit-tokens-remaining"] == "64"
    assert datetime.fromisoformat(anthropic["anthropic-ratelimit-tokens-reset"]) > datetime.now(UTC)
    balance = rate_limits.headers(TokensLeft(1000, 64, None), anthropic=False)
    assert not any(b"reset" in name for name, _ in balance)
    assert rate_limits.headers(None, anthropic=False) == []
