"""What of a sequence may be shown by now: its text, and the log-probabilities of the tokens in it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from inference.engine.detokenizer import Detokenizer
from inference.engine.stops import StopStrings
from inference.events import TokenLogprob


class Shown(NamedTuple):
    """Text that is certain now, and the log-probabilities of the tokens it came from, where they were asked for."""

    text: str
    logprobs: list[TokenLogprob]

    @property
    def empty(self) -> bool:
        return not self.text and not self.logprobs


NOTHING = Shown("", [])


class _Placed(NamedTuple):
    """A token and the characters that it wrote, or helped to write, of all that was decoded."""

    logprob: TokenLogprob
    start: int
    stop: int


class Transcript:
    """Tokens become text, and text is held back: parts of characters, and what may become a stop string.

    A token's log-probability leaves with the last character it wrote, so that those of a text never run ahead of it.
    Where a stop string cuts a token in two it leaves with what was shown of it.
    """

    def __init__(self, detokenizer: Detokenizer, stops: StopStrings) -> None:
        self._detokenizer = detokenizer
        self._stops = stops
        self._unfinished: deque[TokenLogprob] = deque()
        self._held: deque[_Placed] = deque()
        self._decoded_chars = 0
        self._shown_chars = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string was written. Nothing is shown after it."""
        return self._stops.hit

    def push(self, token_id: int, logprob: TokenLogprob | None) -> Shown:
        """What is certain with the next token."""
        if logprob is not None:
            self._unfinished.append(logprob)
        text = self._detokenizer.push(token_id)
        self._place(len(text), unfinished=self._detokenizer.held_tokens)
        return self._show(self._stops.push(text))

    def finish(self) -> Shown:
        """The rest, when no token comes any more."""
        text = self._detokenizer.flush()
        self._place(len(text), unfinished=0)
        return self._show(self._stops.push(text) + self._stops.flush(), last=not self.stopped)

    def _place(self, chars: int, *, unfinished: int) -> None:
        """Give the tokens that a piece of text came from their place in it."""
        start, self._decoded_chars = self._decoded_chars, self._decoded_chars + chars
        while len(self._unfinished) > unfinished:
            self._held.append(_Placed(self._unfinished.popleft(), start, self._decoded_chars))

    def _show(self, text: str, *, last: bool = False) -> Shown:
        self._shown_chars += len(text)
        logprobs: list[TokenLogprob] = []
        while self._held and (last or self._is_shown(self._held[0])):
            logprobs.append(self._held.popleft().logprob)
        return Shown(text, logprobs)

    def _is_shown(self, token: _Placed) -> bool:
        if self.stopped:
            return token.start < self._shown_chars
        return token.stop <= self._shown_chars
