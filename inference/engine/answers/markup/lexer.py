"""Text cut at the markers that are spelled in it, however it comes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from inference.engine.families import Marker

#: Of one item, so that whoever takes an item in parts does not copy all of a long text each time.
_LONGEST_TEXT = 4096


class Item(NamedTuple):
    """Text or a marker, and where it starts, in characters, in all that was written."""

    what: str | Marker
    start: int

    @property
    def text(self) -> str:
        return self.what if isinstance(self.what, str) else self.what.text


class Lexer:
    """Markers that are tokens of their own are given by their tokens; the others are found in the text.

    The longest end of the text that may become a marker is held back.
    """

    def __init__(self, markers: Iterable[Marker]) -> None:
        markers = list(markers)
        self.by_token = {marker.token: marker for marker in markers if marker.token is not None}
        self._by_text = {marker.text: marker for marker in markers if marker.token is None}
        self._pattern = re.compile("|".join(re.escape(text) for text in self._by_text) or r"(?!)")
        self._held = ""
        self._at = 0

    def text(self, text: str) -> Iterator[Item]:
        text, self._held = self._held + text, ""
        at = 0
        for found in self._pattern.finditer(text):
            yield from self._plain(text[at : found.start()])
            yield self._item(self._by_text[found[0]])
            at = found.end()
        rest = text[at:]
        held = self._beginning_of_a_marker(rest)
        yield from self._plain(rest[: len(rest) - held])
        self._held = rest[len(rest) - held :]

    def token(self, token: int) -> Iterator[Item]:
        """A marker's own token: what was held back before it became none."""
        yield from self.flush()
        yield self._item(self.by_token[token])

    def flush(self) -> Iterator[Item]:
        held, self._held = self._held, ""
        yield from self._plain(held)

    def _plain(self, text: str) -> Iterator[Item]:
        for start in range(0, len(text), _LONGEST_TEXT):
            yield self._item(text[start : start + _LONGEST_TEXT])

    def _item(self, what: str | Marker) -> Item:
        item = Item(what, self._at)
        self._at += len(item.text)
        return item

    def _beginning_of_a_marker(self, text: str) -> int:
        """Length of the longest end of the text that is the beginning of a marker."""
        longest = max((len(marker) - 1 for marker in self._by_text), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            if any(marker.startswith(text[-length:]) for marker in self._by_text):
                return length
        return 0
