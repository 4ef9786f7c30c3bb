"""What can be asked of the books, and how each is answered. All immutable, so that a batch can be sent again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accounts.money import Counts, Prices


@dataclass(frozen=True, slots=True)
class Need:
    """What a request wants: an estimate (or the exact count) of its prompt, and an output bound over all sequences.

    `completion_tokens` is bound x sequences. A bound that the client did not state may shrink to 1 per sequence.
    """

    prompt_tokens: int
    completion_tokens: int
    sequences: int = 1
    stated: bool = True


@dataclass(frozen=True, slots=True)
class Reserve:
    """Hold what the request needs in every budget of its key and account, or in none."""

    id: UUID
    account_id: int
    key_id: int
    gateway: str
    model: str
    node: str
    need: Need
    prices: Prices | None


@dataclass(frozen=True, slots=True)
class Extend:
    """Make an open reservation exactly what the neuron counted: `need.prompt_tokens` is exact here."""

    id: UUID
    need: Need
    budget_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Close a reservation with what was used. `estimated`: the counts are the highest that were published."""

    id: UUID
    counts: Counts
    budget_ids: tuple[int, ...]
    node: str = ""
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """Close a reservation of which nothing was used.

    Where it is not known whether the reserve was committed, `account_id` and `key_id` make the batch wait for it.
    """

    id: UUID
    budget_ids: tuple[int, ...] = ()
    account_id: int | None = None
    key_id: int | None = None


@dataclass(frozen=True, slots=True)
class Correct:
    """Put an estimated settle right with the true counts, in a new entry."""

    id: UUID
    counts: Counts
    budget_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks for what an operator may ask for; `user_id` is None for a command."""

    name: str
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """Give back part of an entry. `budget_ids` are those of its lines; None gives back all that is left."""

    entry_id: int
    budget_ids: tuple[int, ...]
    tokens: int | None
    nano_usd: int | None
    reason: str
    author: Author


@dataclass(frozen=True, slots=True)
class Credit:
    """Raise the cap of a balance by `amount`, in the budget's unit. `account_id` is whose budget, or whose key's."""

    budget_id: int
    account_id: int
    amount: int
    reason: str
    author: Author

    @property
    def budget_ids(self) -> tuple[int, ...]:
        return (self.budget_id,)


@dataclass(frozen=True, slots=True)
class Limits:
    """A cap (None: no cap) and the window it is for."""

    cap: int | None
    window: str
    window_seconds: int | None = None
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class ChangeLimits:
    """Give a budget other limits. `seen` are those the person saw: if they have changed since, nothing is done."""

    budget_id: int
    limits: Limits
    seen: Limits | None = None

    @property
    def budget_ids(self) -> tuple[int, ...]:
        return (self.budget_id,)


Operation = Reserve | Extend | Settle | Release | Correct | Refund | Credit | ChangeLimits


# -- answers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    """At most so many tokens: `completion_tokens` is the output bound over all sequences that goes with it."""

    granted: int
    completion_tokens: int
    budget_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OverCap:
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


@dataclass(frozen=True, slots=True)
class NoPrice:
    """A principal with a cap in US dollars asks for a model without a price."""

    model: str


@dataclass(frozen=True, slots=True)
class KeyNotValid:
    """The key was revoked, has expired, or its account is suspended or closed."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Closed by this operation. `entry_id` is None for a release; `overrun` are tokens that no budget had room for."""

    entry_id: int | None = None
    overrun_tokens: int = 0


@dataclass(frozen=True, slots=True)
class NotOpen:
    """Somebody closed the reservation before, or there is none of this id: nothing was done."""


@dataclass(frozen=True, slots=True)
class Done:
    """The entry that was written, if one was."""

    entry_id: int | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """An operator's request that the books refuse: a sentence, and the field it is about."""

    message: str
    field: str


Answer = Granted | OverCap | NoPrice | KeyNotValid | Closed | NotOpen | Done | Declined
