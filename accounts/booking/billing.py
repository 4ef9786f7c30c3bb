"""How much of what was used can be billed: the arithmetic of counts against the room that budgets have."""

from __future__ import annotations

from collections.abc import Sequence

from accounts.booking.state import BudgetState
from accounts.money import Counts, Prices


def difference(fewer: Counts, more: Counts) -> Counts:
    """What `more` has on top of `fewer`; negative where it has less."""
    return Counts(
        more.prompt_tokens - fewer.prompt_tokens,
        more.completion_tokens - fewer.completion_tokens,
        more.cached_tokens - fewer.cached_tokens,
        more.reasoning_tokens - fewer.reasoning_tokens,
    )


def cut_to_room(budgets: Sequence[BudgetState], prices: Prices, billed: Counts, actual: Counts) -> Counts:
    """As much of `actual` as every budget has room for, the last completion tokens and then prompt tokens cut off."""

    def fits(counts: Counts) -> bool:
        tokens, nano_usd = counts.tokens - billed.tokens, prices.cost(counts) - prices.cost(billed)
        return all(b.cap is None or b.spent + b.reserved + b.amount(tokens, nano_usd) <= b.cap for b in budgets)

    if fits(actual):
        return actual
    low, high = 0, actual.tokens  # the most tokens that fit, found by halving
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(_first(actual, middle)) else (low, middle - 1)
    return _first(actual, low)


def _first(counts: Counts, tokens: int) -> Counts:
    """The first so many tokens of a request: its prompt, then its completion."""
    prompt = min(counts.prompt_tokens, tokens)
    completion = min(counts.completion_tokens, tokens - prompt)
    return Counts(prompt, completion, min(counts.cached_tokens, prompt), min(counts.reasoning_tokens, completion))
