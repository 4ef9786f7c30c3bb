"""Costs as integers: rounded up once, never free, and never more than what was held for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.money import Counts, Prices
from helexa.usd import MAX_AMOUNT, AmountError, format_usd, parse_usd

PRICES = st.builds(
    Prices,
    input=st.integers(0, 10**12),
    output=st.integers(0, 10**12),
    cached=st.none() | st.integers(0, 10**12),
    reasoning=st.none() | st.integers(0, 10**12),
)


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    prompt, completion = draw(st.integers(0, 10**7)), draw(st.integers(0, 10**7))
    return Counts(prompt, completion, draw(st.integers(0, prompt)), draw(st.integers(0, completion)))


def test_parts_of_a_request_have_their_own_prices() -> None:
    prices = Prices(input=3 * 10**6, output=5 * 10**6, cached=10**6, reasoning=7 * 10**6)
    assert prices.cost(Counts(10, 20, cached_tokens=4, reasoning_tokens=5)) == 6 * 3 + 4 * 1 + 15 * 5 + 5 * 7


def test_cached_input_and_reasoning_cost_the_usual_price_unless_they_have_one() -> None:
    prices = Prices(input=3 * 10**6, output=5 * 10**6)
    assert prices.cost(Counts(10, 20, cached_tokens=4, reasoning_tokens=5)) == 10 * 3 + 20 * 5


def test_a_cost_is_rounded_up_once() -> None:
    assert Prices(input=1, output=1).cost(Counts(1, 0)) == 1
    assert Prices(input=500_000, output=500_000).cost(Counts(1, 1)) == 1
    assert Prices(input=0, output=0).cost(Counts(10**9, 10**9)) == 0


@given(PRICES, counts())
def test_no_request_costs_more_than_was_held_for_it(prices: Prices, used: Counts) -> None:
    assert 0 <= prices.cost(used) <= prices.most(used.prompt_tokens, used.completion_tokens)


@given(st.integers(-MAX_AMOUNT, MAX_AMOUNT))
def test_an_amount_survives_being_written_and_read(nano_usd: int) -> None:
    assert parse_usd(format_usd(nano_usd)) == nano_usd


@pytest.mark.parametrize(("text", "nano_usd"), [("1", 10**9), ("12.50", 12_500_000_000), ("0.000000001", 1)])
def test_dollars_are_read_exactly(text: str, nano_usd: int) -> None:
    assert parse_usd(text) == nano_usd


@pytest.mark.parametrize("text", ["", "NaN", "inf", "1.0000000001", "1000000001", "1e400", "one", "1" * 100])
def test_what_is_no_amount_of_dollars_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_usd(text)
