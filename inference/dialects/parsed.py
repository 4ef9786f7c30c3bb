"""What the parsed bodies of all dialects have in common."""

from __future__ import annotations

from typing import NamedTuple

from inference.requests import Asked, GenerationRequest


class Terms(NamedTuple):
    """What the gateway decides of an attempt: the bound that holds, stated or default, and what is granted, in tokens.

    `account` and `key` say whose share of the device it takes.
    """

    attempt_id: str
    max_tokens: int
    granted: int | None
    account: str | None = None
    key: str | None = None


class ParsedRequest(Asked, frozen=True, kw_only=True):
    """A parsed body: everything but what the gateway decides. `max_tokens` is None where the client stated none."""

    max_tokens: int | None

    @property
    def default_max_tokens(self) -> int | None:
        """The bound where none is stated; None is the model's own."""
        return None

    def generation(self, terms: Terms) -> GenerationRequest:
        """What a neuron gets."""
        asked = {field: getattr(self, field) for field in Asked.__struct_fields__}
        return GenerationRequest(
            **asked,
            id=terms.attempt_id,
            max_tokens=terms.max_tokens,
            granted=terms.granted,
            account=terms.account,
            key=terms.key,
        )
