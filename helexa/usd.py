"""Dollars as integers: nano-USD, so that a sum is exact. What accounts bill and what the fleet asks are typed alike.

Nothing here knows an app or a database; accounts and fleet, which do not know each other, both import it.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

NANO = 10**9

#: Every amount ends here (a billion dollars; as tokens a million million million): sums stay far inside a bigint.
MAX_AMOUNT = 10**18

#: An amount that has more characters is none, and is not repeated in the answer.
MOST_CHARACTERS = 40


class AmountError(ValueError):
    """An amount that cannot be one; the message is a sentence without the field's name."""


def parse_usd(text: str) -> int:
    """Nano-USD of an amount typed in dollars, at most nine decimals. Raises AmountError."""
    typed = text.strip()
    if len(typed) > MOST_CHARACTERS:
        raise AmountError("This is not an amount in dollars; write it as 12.50.")
    try:
        amount = Decimal(typed)
    except InvalidOperation:
        raise AmountError(f"{typed!r} is not an amount in dollars; write it as 12.50.") from None
    if not amount.is_finite():
        raise AmountError(f"{typed!r} is not an amount in dollars; write it as 12.50.")
    if abs(amount) > MAX_AMOUNT // NANO:
        raise AmountError(f"{typed} dollars are too many; the most is {MAX_AMOUNT // NANO}.")
    # Compared before it is multiplied: a product of more than 28 digits would be rounded to a fitting one.
    if amount != amount.quantize(Decimal("1e-9")):
        raise AmountError("An amount in dollars has at most nine decimals.")
    return int(amount * NANO)


def format_usd(nano: int) -> str:
    """Dollars with as many decimals as they need, two at least."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    fraction = f"{nano % NANO:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{nano // NANO}.{fraction}"
