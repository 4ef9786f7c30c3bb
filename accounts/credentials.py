"""The secret that a client presents: the same rule on every path that takes keys (MISSION G13)."""

from __future__ import annotations

from collections.abc import Iterable


def presented_secret(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The secret among these headers (names in lower case). If both come only `x-api-key` is judged.

    An empty one of either, or another scheme, counts as no key: it is how a client is told to use the other header.
    """
    bearer = None
    for name, value in headers:
        if name == b"x-api-key" and (secret := value.strip()):
            return secret
        if name == b"authorization":
            scheme, _, secret = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                bearer = secret.strip() or None
    return bearer
