"""How much a request may be granted by the budgets it touches: the arithmetic of caps, without any of its writing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import msgspec

from accounts.booking.operations import Need, OverCap, TokensLeft
from accounts.booking.state import BudgetState
from accounts.booking.windows import Window
from accounts.models import Budget
from accounts.money import PER_TOKENS, Prices

FREE = Prices(input=0, output=0)

#: While only open reservations stand in the way it is worth asking again soon: they close in seconds.
RESERVED_RETRY_S = 2


class Grant(msgspec.Struct, frozen=True):
    """Tokens of the prompt and of all completions together that may be used."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def amount_of(budget: BudgetState, grant: Grant, prices: Prices) -> int:
    """What a grant holds in a budget: its tokens, or the most that they can cost."""
    return budget.amount(grant.tokens, prices.most(grant.prompt_tokens, grant.completion_tokens))


def find_grant(budgets: Sequence[BudgetState], need: Need, prices: Prices, *, exact: bool) -> Grant | None:
    """The largest grant that every budget has room for, or None.

    A bound that was not stated shrinks, to 1 token per sequence at least. An estimated prompt never refuses: where it
    does not fit beside the bound it is cut to what is left, and the exact count decides later (MISSION G16).
    """
    whole = Grant(need.prompt_tokens, need.completion_tokens)
    if _fits(budgets, whole, prices):
        return whole
    least = need.completion_tokens if need.stated else need.sequences
    if not need.stated:
        bound = min(need.completion_tokens, *(_completion_room(b, need.prompt_tokens, prices) for b in budgets))
        bound = int(bound) // need.sequences * need.sequences
        if bound >= least:
            return Grant(need.prompt_tokens, bound)
    if exact:
        return None
    prompt = int(min(need.prompt_tokens, *(_prompt_room(b, least, prices) for b in budgets)))
    return Grant(prompt, least) if prompt >= 1 else None


def over_cap(budgets: Sequence[BudgetState], need: Need, prices: Prices, now: datetime, *, exact: bool) -> OverCap:
    """Which budget stands in the way of the least that the request needs: a terminal reason wins over a passing one."""
    least = need.completion_tokens if need.stated else need.sequences
    smallest = Grant(need.prompt_tokens if exact else 1, least)
    refusals = [
        _refusal(budget, amount, now)
        for budget in budgets
        if (amount := amount_of(budget, smallest, prices)) > budget.room
    ]
    assert refusals, "asked only after no grant was found"
    return max(refusals, key=lambda refusal: math.inf if refusal.retry_after_s is None else refusal.retry_after_s)


def tokens_left(budgets: Sequence[BudgetState]) -> TokensLeft | None:
    """Of the one that will be the first to say no."""
    capped = [budget for budget in budgets if budget.unit == Budget.Unit.TOKENS and budget.limit is not None]
    tightest = min(capped, key=lambda budget: budget.room, default=None)
    if tightest is None or tightest.limit is None:
        return None
    return TokensLeft(tightest.limit, max(0, int(tightest.room)), tightest.window_ends_at)


def _fits(budgets: Sequence[BudgetState], grant: Grant, prices: Prices) -> bool:
    return all(amount_of(budget, grant, prices) <= budget.room for budget in budgets)


def _completion_room(budget: BudgetState, prompt_tokens: int, prices: Prices) -> float:
    """The most completion tokens beside this prompt."""
    if budget.unit == Budget.Unit.TOKENS or budget.limit is None:
        return budget.room - prompt_tokens
    left = budget.room * PER_TOKENS - prompt_tokens * prices.dearest_input
    return _divide(left, prices.dearest_output)


def _prompt_room(budget: BudgetState, completion_tokens: int, prices: Prices) -> float:
    """The most prompt tokens beside this bound."""
    if budget.unit == Budget.Unit.TOKENS or budget.limit is None:
        return budget.room - completion_tokens
    left = budget.room * PER_TOKENS - completion_tokens * prices.dearest_output
    return _divide(left, prices.dearest_input)


def _divide(left: float, price: int) -> float:
    """How many tokens of a price are left: integers stay exact, since a budget with a limit has an integer room."""
    if left < 0:
        return -1
    return int(left) // price if price else math.inf


def _refusal(budget: BudgetState, needed: int, now: datetime) -> OverCap:
    assert budget.limit is not None, "a budget without a cap has room for everything"
    return OverCap(
        owner="key" if budget.key_id is not None else "account",
        unit=budget.unit,
        window=budget.window,
        cap=budget.limit,
        spent=budget.spent,
        reserved=budget.reserved,
        needed=needed,
        resets_at=budget.window_ends_at,
        retry_after_s=_retry_after_s(budget, needed, now),
    )


def _retry_after_s(budget: BudgetState, needed: int, now: datetime) -> int | None:
    """Seconds after which it may fit; None where waiting does not help (MISSION G12, insufficient_quota)."""
    assert budget.limit is not None
    if budget.spent + needed <= budget.limit:
        return RESERVED_RETRY_S
    if budget.window == Window.BALANCE or needed > budget.limit:
        return None
    if budget.window_ends_at is None:
        return RESERVED_RETRY_S
    return max(1, math.ceil((budget.window_ends_at - now).total_seconds()))
