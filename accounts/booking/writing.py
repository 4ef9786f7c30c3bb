"""What a batch writes, gathered while it is decided."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from accounts.models import Entry
from accounts.money import Counts, Prices


class NewReservation(msgspec.Struct, frozen=True):
    id: UUID
    account_id: int
    key_id: int
    gateway: str
    model: str
    node: str
    granted: int
    completion_bound: int
    budget_ids: list[int]
    held: list[int]
    prices: Prices | None


class NewEntry(msgspec.Struct, frozen=True):
    """An entry and the lines that go with it: (budget id, window number, amount)."""

    id: int
    kind: str
    debit_id: int
    credit_id: int
    key_id: int | None = None
    reservation_id: UUID | None = None
    tokens: int = 0
    nano_usd: int = 0
    counts: Counts = msgspec.field(default_factory=Counts)
    prices: Prices | None = None
    model: str = ""
    node: str = ""
    estimated: bool = False
    refunds_id: int | None = None
    budget_id: int | None = None
    reason: str = ""
    author_id: int | None = None
    author_name: str = ""
    lines: tuple[tuple[int, int, int], ...] = ()

    @property
    def is_spend(self) -> bool:
        """Whether it counts in the account's spend: a credit raises a cap, an overrun is the house's."""
        return self.key_id is not None and self.kind not in (Entry.Kind.CREDIT, Entry.Kind.OVERRUN)


class Spent(msgspec.Struct):
    """A row of the hourly roll-up, to be added to what is there."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens: int = 0
    nano_usd: int = 0

    def add(self, entry: NewEntry) -> None:
        self.requests += entry.kind == Entry.Kind.USAGE
        self.prompt_tokens += entry.counts.prompt_tokens
        self.completion_tokens += entry.counts.completion_tokens
        self.tokens += entry.tokens
        self.nano_usd += entry.nano_usd


class Writes(msgspec.Struct):
    now: datetime
    reservations: list[NewReservation] = msgspec.field(default_factory=list)
    #: Ids of reservations that were extended.
    regranted: set[UUID] = msgspec.field(default_factory=set)
    entries: list[NewEntry] = msgspec.field(default_factory=list)

    def hourly(self) -> dict[tuple[int, int, str], Spent]:
        """What the entries add to this hour, by account, key and model, in the order in which rows are locked."""
        sums: dict[tuple[int, int, str], Spent] = {}
        for entry in self.entries:
            if entry.is_spend:
                assert entry.key_id is not None
                sums.setdefault((entry.debit_id, entry.key_id, entry.model), Spent()).add(entry)
        return dict(sorted(sums.items()))
