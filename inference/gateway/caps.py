"""A request that does not fit a cap: which one, what is used of it, and when it frees (MISSION G12)."""

from __future__ import annotations

from accounts.booking.operations import OverCap, TokensLeft
from helexa.usd import format_usd
from inference.refusals import Refusal


class CapReached(Refusal):
    """429: to be sent again once there is room, or not at all where waiting does not help.

    `left` is what there is room for, None where the cap is not in tokens.
    """

    def __init__(self, over: OverCap) -> None:
        terminal = over.retry_after_s is None
        super().__init__(
            _message(over),
            code="insufficient_quota" if terminal else "rate_limit_exceeded",
            retry_after_s=over.retry_after_s,
            final=terminal,
            diagnostics={
                "cap_of": over.owner,
                "unit": over.unit,
                "window": over.window,
                "cap": over.cap,
                "spent": over.spent,
                "reserved": over.reserved,
                "needed": over.needed,
                **({"resets_at": f"{over.resets_at:%Y-%m-%dT%H:%M:%SZ}"} if over.resets_at else {}),
            },
        )
        room = max(0, over.cap - over.spent - over.reserved)
        self.left = TokensLeft(over.cap, room, over.resets_at) if over.unit == "tokens" else None


def _message(over: OverCap) -> str:
    def amount(number: int) -> str:
        return f"{format_usd(number)} USD" if over.unit == "nano_usd" else f"{number} tokens"

    window = "a balance" if over.window == "balance" else f"a {over.window} window"
    message = (
        f"This request needs at least {amount(over.needed)}, which does not fit the cap of its {over.owner}: "
        f"{amount(over.cap)} ({window}), of which {amount(over.spent)} are spent and {amount(over.reserved)} "
        "reserved by requests that run."
    )
    if over.retry_after_s is None:
        message += " Waiting does not help: ask for less, or have the cap raised."
    elif over.resets_at is not None and over.window != "balance":
        message += f" The window ends at {over.resets_at:%Y-%m-%dT%H:%M:%SZ}."
    return message
