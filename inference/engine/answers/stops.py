"""Stop strings: text that ends a generation and is never shown."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Lets text through up to the first stop string, however the text was cut into pieces.

    What could still become a stop string is held back: the longest end of the text that begins one. The match that is
    complete first wins (of two that end together, the longer), so any split of the same text gives the same answer.
    `matched` is the one that was found.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.matched: str | None = None

    @property
    def hit(self) -> bool:
        return self.matched is not None

    def push(self, text: str) -> str:
        """The visible part of what is known by now. Nothing follows once one is `hit`."""
        if self.hit:
            return ""
        self._held += text
        matches = [(at + len(stop), at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if matches:
            _, at, self.matched = min(matches)
            return self._release(at)
        return self._release(len(self._held) - self._beginning_of_a_stop())

    def flush(self) -> str:
        """What was held back in case it became a stop string; at the end of the text it did not."""
        return "" if self.hit else self._release(len(self._held))

    def _beginning_of_a_stop(self) -> int:
        """Length of the longest end of the held text that is the beginning of any stop string."""
        longest = min(len(self._held), max((len(stop) - 1 for stop in self._stops), default=0))
        for length in range(longest, 0, -1):
            end = self._held[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0

    def _release(self, length: int) -> str:
        visible, self._held = self._held[:length], self._held[length:]
        return visible
