"""The secret that a client presents: the same rule on every path that takes keys (MISSION G13)."""

from __future__ import annotations

from collections.abc import Iterable


def presented_secret(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The secret among these headers (names in lower case). If both come only `x-api-key` is judged.

    An empty bearer, or another scheme, counts as no key.
    """
    bearer = None
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip() or None
        if name == b"authorization":
            scheme, _, secret = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                bearer = secret.strip() or None
    return bearer
