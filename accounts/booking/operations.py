"""What can be asked of the books, and how each is answered. All immutable, so that a batch can be sent again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from accounts.money import Counts, Prices


class Need(msgspec.Struct, frozen=True):
    """What a request wants: an estimate (or the exact count) of its prompt, and an output bound over all sequences.

    `completion_tokens` is bound x sequences. A bound that the client did not state may shrink to 1 per sequence.
    """

    prompt_tokens: int
    completion_tokens: int
    sequences: int = 1
    stated: bool = True


class Reserve(msgspec.Struct, frozen=True):
    """Hold what the request needs in every budget of its key and account, or in none."""

    id: UUID
    account_id: int
    key_id: int
    gateway: str
    model: str
    node: str
    need: Need
    prices: Prices | None


class Extend(msgspec.Struct, frozen=True):
    """Make an open reservation exactly what the neuron counted: `need.prompt_tokens` is exact here."""

    id: UUID
    need: Need
    budget_ids: tuple[int, ...]


class Settle(msgspec.Struct, frozen=True):
    """Close a reservation with what was used. `estimated`: the counts are the highest that were published."""

    id: UUID
    counts: Counts
    budget_ids: tuple[int, ...]
    node: str = ""
    estimated: bool = False


class Release(msgspec.Struct, frozen=True):
    """Close a reservation of which nothing was used.

    Where it is not known whether the reserve was committed, `account_id` and `key_id` make the batch wait for it.
    """

    id: UUID
    budget_ids: tuple[int, ...] = ()
    account_id: int | None = None
    key_id: int | None = None


class Correct(msgspec.Struct, frozen=True):
    """Put an estimated settle right with the true counts, in a new entry."""

    id: UUID
    counts: Counts
    budget_ids: tuple[int, ...]


class Author(msgspec.Struct, frozen=True):
    """Who asks for what an operator may ask for; `user_id` is None for a command."""

    name: str
    user_id: int | None = None


class Refund(msgspec.Struct, frozen=True):
    """Give back part of an entry. `budget_ids` are those of its lines; None gives back all that is left."""

    entry_id: int
    budget_ids: tuple[int, ...]
    tokens: int | None
    nano_usd: int | None
    reason: str
    author: Author


class Credit(msgspec.Struct, frozen=True):
    """Raise the cap of a balance by `amount`, in the budget's unit. `account_id` is whose budget, or whose key's."""

    budget_id: int
    account_id: int
    amount: int
    reason: str
    author: Author

    @property
    def budget_ids(self) -> tuple[int, ...]:
        return (self.budget_id,)


class Limits(msgspec.Struct, frozen=True):
    """A cap (None: no cap) and the window it is for."""

    cap: int | None
    window: str
    window_seconds: int | None = None
    time_zone: str = "UTC"


class ChangeLimits(msgspec.Struct, frozen=True):
    """Give a budget other limits. `seen` are those the person saw: if they have changed since, nothing is done."""

    budget_id: int
    limits: Limits
    seen: Limits | None = None

    @property
    def budget_ids(self) -> tuple[int, ...]:
        return (self.budget_id,)


Operation = Reserve | Extend | Settle | Release | Correct | Refund | Credit | ChangeLimits


# -- answers -------------------------------------------------------------------------------------


class TokensLeft(msgspec.Struct, frozen=True):
    """The budget in tokens with the least room: so many of its `cap` may still be reserved before it resets."""

    cap: int
    tokens: int
    resets_at: datetime | None


class Granted(msgspec.Struct, frozen=True):
    """At most so many tokens: `completion_tokens` is the output bound over all sequences that goes with it.

    `left` is None where no budget is capped in tokens.
    """

    granted: int
    completion_tokens: int
    budget_ids: tuple[int, ...]
    left: TokensLeft | None = None


class OverCap(msgspec.Struct, frozen=True):
    """It does not fit this budget. `retry_after_s` is None where waiting does not help.

    Amounts are in `unit`. `spent` and `reserved` are what stood in the way of `needed`, `cap` what they were held to.
    """

    owner: str
    unit: str
    window: str
    cap: int
    spent: int
    reserved: int
    needed: int
    resets_at: datetime | None
    retry_after_s: int | None


class NoPrice(msgspec.Struct, frozen=True):
    """A principal with a cap in US dollars asks for a model without a price."""

    model: str


class KeyNotValid(msgspec.Struct, frozen=True):
    """The key was revoked, has expired, or its account is suspended or closed."""


class Closed(msgspec.Struct, frozen=True):
    """Closed by this operation. `entry_id` is None for a release; `overrun` are tokens that no budget had room for."""

    entry_id: int | None = None
    overrun_tokens: int = 0


class NotOpen(msgspec.Struct, frozen=True):
    """Somebody closed the reservation before, or there is none of this id: nothing was done."""


class Done(msgspec.Struct, frozen=True):
    """The entry that was written, if one was."""

    entry_id: int | None = None


class Declined(msgspec.Struct, frozen=True):
    """An operator's request that the books refuse: a sentence, and the field it is about."""

    message: str
    field: str


Answer = Granted | OverCap | NoPrice | KeyNotValid | Closed | NotOpen | Done | Declined
