"""What is left of a budget, in the headers that SDKs read (WIRE_APIS 0.2)."""

from __future__ import annotations

from datetime import UTC, datetime

from accounts.booking.operations import TokensLeft

Headers = list[tuple[bytes, bytes]]


def headers(left: TokensLeft | None, *, anthropic: bool) -> Headers:
    """None without a cap in tokens. A balance never resets, so it does not say when."""
    if left is None:
        return []
    named = _anthropic(left) if anthropic else _openai(left)
    return [(name.encode(), value.encode()) for name, value in named.items()]


def _openai(left: TokensLeft) -> dict[str, str]:
    named = {"x-ratelimit-limit-tokens": str(left.cap), "x-ratelimit-remaining-tokens": str(left.tokens)}
    if left.resets_at is not None:
        seconds = max(0, round((left.resets_at - datetime.now(UTC)).total_seconds()))
        named["x-ratelimit-reset-tokens"] = duration(seconds)
    return named


def _anthropic(left: TokensLeft) -> dict[str, str]:
    prefix = "anthropic-ratelimit-tokens"
    named = {f"{prefix}-limit": str(left.cap), f"{prefix}-remaining": str(left.tokens)}
    if left.resets_at is not None:
        named[f"{prefix}-reset"] = f"{left.resets_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return named


def duration(seconds: int) -> str:
    """As OpenAI writes it: `1s`, `6m0s`, `26h3m0s`."""
    minutes, left = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
