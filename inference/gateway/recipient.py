"""Whom a call answers: a client over HTTP, or whatever stands in for one, such as a stored response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from inference.gateway.attempts import Attempt
from inference.refusals import Refusal

#: The last bytes of a stream that cannot go on.
Broken = Callable[[Refusal], bytes]


class Recipient(Protocol):
    """What a call hands its answer to; `Exchange` is the plain one.

    One of a dialect's own sees everything before it leaves, and what it awaits in `answer` and `send_last` happens
    after the settle and before the last bytes: a place to store an answer. `id` is unique, and the reservation's too.
    """

    #: The attempt that answers, once there is one.
    attempt: Attempt | None

    @property
    def status(self) -> int | None:
        """The HTTP status of what has begun to leave; None before, when another neuron may still be asked."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the log and the record of the request say of it."""

    @property
    def id(self) -> UUID: ...

    @property
    def request_id(self) -> str: ...

    async def answer(self, body: bytes) -> None:
        """A whole answer."""

    async def open_stream(self, broken: Broken) -> None:
        """The 200 of a stream; `broken` is how it says that it cannot go on."""

    async def send(self, frames: bytes) -> None: ...

    async def send_last(self, frames: bytes) -> None: ...
