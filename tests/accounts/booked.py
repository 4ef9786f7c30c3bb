"""Requests booked for tests of what reads the books: reserved and settled as a gateway would."""

from __future__ import annotations

from uuid import UUID, uuid4

from accounts.booking.operations import Author, Granted, Need, Reserve, Settle
from accounts.booking.transaction import book
from accounts.models import ApiKey, Entry, Reservation
from accounts.money import Counts, Prices

#: 1 and 2 USD per 1M tokens.
PRICES = Prices(input=10**9, output=2 * 10**9)

#: Who does in tests what an operator does.
ME = Author("a test")


def reserve(key: ApiKey, prompt: int, completion: int) -> UUID:
    """Hold so many tokens for a request of the key; the id of its reservation."""
    reservation = uuid4()
    need = Need(prompt, completion)
    (answer,) = book(
        [
            Reserve(
                id=reservation,
                account_id=key.account_id,
                key_id=key.pk,
                gateway="gateway",
                model="tiny",
                node="local",
                need=need,
                prices=PRICES,
            )
        ]
    )
    assert isinstance(answer, Granted), answer
    return reservation


def settle(reservation: UUID, prompt: int, completion: int) -> Entry:
    """Bill the reservation with what was used."""
    budget_ids = tuple(Reservation.objects.get(pk=reservation).budget_ids)
    book([Settle(id=reservation, counts=Counts(prompt, completion), budget_ids=budget_ids)])
    return Entry.objects.get(reservation=reservation)


def use(key: ApiKey, prompt: int = 100, completion: int = 50) -> Entry:
    """A whole request, and what it was billed."""
    return settle(reserve(key, prompt, completion), prompt, completion)
