"""What stands between the markers of a call, read as it comes."""

from __future__ import annotations

from typing import Protocol

from inference.engine.answers.markup import gemma_call, xml_call
from inference.engine.answers.markup.gemma_call import GemmaBody
from inference.engine.answers.markup.json_calls import JsonBody
from inference.engine.answers.markup.json_scanner import BrokenError
from inference.engine.answers.markup.llama_calls import LlamaBody
from inference.engine.answers.markup.mistral_calls import MistralBody
from inference.engine.answers.markup.pieces import CallPiece
from inference.engine.answers.markup.xml_call import Coerce, XmlBody
from inference.engine.families import CallForm, Calls, Marker


class Body(Protocol):
    """Adds what is known of its calls to `pieces`; `done` when the call has ended. Raises BrokenError if it is none."""

    done: bool

    def text(self, text: str) -> int:
        """Read on. Returns how many characters belong to it: all of them, unless it is done."""

    def marker(self, marker: Marker) -> None:
        """One of the family's markers was written, which may be no more than text here."""

    def finish(self) -> None:
        """The answer ends. `done` if that ends the call as well."""


class Enclosed:
    """A call between two markers, in the form that its first characters are of: JSON is understood in every family."""

    def __init__(self, pieces: list[CallPiece], calls: Calls, end: Marker, coerce: Coerce) -> None:
        self.done = False
        self._pieces = pieces
        self._calls = calls
        self._end = end
        self._coerce = coerce
        self._head = ""
        self._within: Body | None = None

    def text(self, text: str) -> int:
        unread = text
        if self._within is None:
            self._head = unread = (self._head + text).lstrip()
            self._within = self._opened()
        if self._within is not None:
            taken = 0 if self._within.done else self._within.text(unread)
            if unread[taken:].strip():
                raise BrokenError  # something between the call and its end
        return len(text)

    def _opened(self) -> Body | None:
        """None as long as it is open what this is going to be."""
        if not self._head:
            return None
        if self._head[0] in "{[":
            return JsonBody(self._pieces)
        gemma = self._calls.form is CallForm.GEMMA
        opening = gemma_call.OPENING if gemma else xml_call.OPENING
        if self._head.startswith(opening):
            if gemma and self._calls.quote:
                return GemmaBody(self._pieces, self._end, self._calls.quote)
            return XmlBody(self._pieces, self._end, self._coerce)
        if opening.startswith(self._head):
            return None
        raise BrokenError

    def marker(self, marker: Marker) -> None:
        if self._within is None:
            raise BrokenError
        if isinstance(self._within, JsonBody) and self._within.done:
            if marker != self._end:
                raise BrokenError
            self.done = True
        else:
            self._within.marker(marker)
            self.done = self._within.done and not isinstance(self._within, JsonBody)

    def finish(self) -> None:
        """Its end was not written."""


def behind(pieces: list[CallPiece], calls: Calls, coerce: Coerce) -> Body:
    """What follows the marker that begins a call."""
    if calls.end is not None:
        return Enclosed(pieces, calls, calls.end, coerce)
    return LlamaBody(pieces, bare=False) if calls.form is CallForm.LLAMA else MistralBody(pieces, calls)
