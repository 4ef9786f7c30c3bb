"""What a wire API is to the gateway: a request that was parsed, and the answer that events become.

The gateway reserves, routes, tries again and settles alike for all of them; what differs is behind these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from inference.dialects.assembly import Assembly
from inference.dialects.parsed import Terms
from inference.events import Ended, Finished, Piece, PromptLogprobs, Started
from inference.refusals import Refusal
from inference.requests import GenerationRequest

#: What an answer is made of between its opening and its end.
Content = Piece | PromptLogprobs | Ended


class Answer(Protocol):
    """One request's events as bytes, streamed by the first five methods or whole by the last.

    Methods are called in the order of the events, once for each; what they return is sent as it is, and may be empty.
    """

    def opening(self, started: Started) -> bytes:
        """The first bytes behind the 200."""

    def content(self, event: Content) -> bytes: ...

    def closing(self, finished: Finished) -> bytes:
        """The last bytes of an answer that is complete."""

    def broken(self, refusal: Refusal) -> bytes:
        """The last bytes of a stream that cannot go on."""

    def keep_alive(self) -> bytes:
        """What fills a silence of a stream that has opened."""

    def whole(self, assembly: Assembly, started: Started, finished: Finished) -> bytes:
        """The body of an answer that does not stream."""


class DialectRequest(Protocol):
    """A parsed body."""

    @property
    def model(self) -> str: ...

    @property
    def stream(self) -> bool: ...

    @property
    def max_tokens(self) -> int | None:
        """The output bound of a sequence; None where the client stated none."""

    @property
    def default_max_tokens(self) -> int | None:
        """The bound where none is stated; None is the model's own."""

    @property
    def sequences(self) -> int:
        """How many answers it pays, and has. With 0, for what only counts a prompt, nothing is reserved or billed."""

    def param(self, field: str) -> str:
        """What Chat Completions calls `field`, by this dialect's name: neurons and gateway know only the one."""

    def generation(self, terms: Terms) -> GenerationRequest:
        """What a neuron gets."""

    def answer(self, request_id: str, *, model: str, created_s: int) -> Answer:
        """Made anew for every attempt. The ids in it come from the digits of `request_id`, so a stream and what is
        stored of it agree."""


#: The value of a request's header by its name in lower case, None where there is none.
Header = Callable[[bytes], bytes | None]

#: Reads a body, and of the headers what a dialect keeps there. Raises Refusal naming the field that is wrong.
Parse = Callable[[bytes, Header], DialectRequest]


class Envelope(Protocol):
    """How a dialect says no before its 200 has left; a module with these two functions is one."""

    def status(self, refusal: Refusal) -> int: ...

    def envelope(self, refusal: Refusal, request_id: str) -> bytes: ...
