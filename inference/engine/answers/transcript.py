"""What of a sequence may be shown by now: text and calls, and the log-probabilities of the tokens in a text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from inference.engine.answers.detokenizer import Detokenizer
from inference.engine.answers.markup import Arguments, Begun, Kind, Parser, Piece, Said
from inference.engine.answers.stops import StopStrings
from inference.events import TokenLogprob


class Shown(NamedTuple):
    """Text that is certain now, and the log-probabilities of the tokens it came from, where they were asked for."""

    text: str
    logprobs: list[TokenLogprob]
    kind: Kind = "text"


#: What a token, or the end of an answer, brought.
Written = Shown | Begun | Arguments


class _Placed(NamedTuple):
    """A token and the characters that it wrote, or helped to write, of all that was decoded."""

    logprob: TokenLogprob
    start: int
    stop: int


class Transcript:
    """Tokens become text, and text is held back: parts of characters, calls, and what may become a stop string.

    The parser, where there is one, tells reasoning and calls from the text, in which alone stop strings are looked for.
    A token's log-probability leaves with the last character it wrote, so that those of a text never run ahead of it;
    where a stop string cuts a token in two, with what was shown of it. Those of markup do not leave.
    """

    def __init__(self, detokenizer: Detokenizer, stops: StopStrings, parser: Parser | None = None) -> None:
        self.reasoning_tokens = 0
        self._detokenizer = detokenizer
        self._stops = stops
        self._parser = parser
        self._tokens = 0
        self._unfinished: deque[TokenLogprob] = deque()
        self._held: deque[_Placed] = deque()
        # In characters of all that was decoded, markers included: all of it, what the parser said, what was shown.
        self._decoded = 0
        self._said = 0
        self._shown = 0
        self._kind: Kind = "text"

    @property
    def stopped(self) -> bool:
        """Whether a stop string was written, or the only call that may be. Nothing is shown after it."""
        return self._stops.hit or (self._parser is not None and self._parser.stopped)

    @property
    def stop(self) -> str | None:
        """The stop string that was written."""
        return self._stops.matched

    @property
    def thinking(self) -> bool:
        return self._parser is not None and self._parser.thinking

    @property
    def begins_thinking(self) -> int | None:
        """The token that would begin reasoning if it came next."""
        return self._parser.begins_thinking if self._parser else None

    @property
    def complete_calls(self) -> int:
        return self._parser.complete_calls if self._parser else 0

    def push(self, token_id: int, logprob: TokenLogprob | None) -> list[Written]:
        """What is certain with the next token."""
        if logprob is not None:
            self._unfinished.append(logprob)
        self._tokens += 1
        before = self.thinking
        written = self._show(self._parsed(token_id))
        if before or self.thinking:  # it comes before all else
            self.reasoning_tokens = self._tokens
        return written

    def _parsed(self, token_id: int) -> Iterable[Piece]:
        marker = self._parser.spelling(token_id) if self._parser else None
        if self._parser is None or marker is None:
            return self._read(self._detokenizer.push(token_id), unfinished=self._detokenizer.held_tokens)
        before = self._read(self._detokenizer.interrupt(token_id), unfinished=1)
        self._place(len(marker), unfinished=0)
        return [*before, *self._parser.marker(token_id)]

    def _read(self, text: str, *, unfinished: int) -> Iterable[Piece]:
        start = self._decoded
        self._place(len(text), unfinished=unfinished)
        return self._parser.text(text) if self._parser else [Said("text", text, start)]

    def finish(self) -> list[Written]:
        """The rest, when no token comes any more."""
        rest = [*self._read(self._detokenizer.flush(), unfinished=0)]
        if self._parser:
            rest += self._parser.finish()
        written = self._show(rest)
        return [*written, *self._leave_off(last=self._said == self._decoded)]

    def _place(self, chars: int, *, unfinished: int) -> None:
        """Give the tokens that a piece of text came from their place in it."""
        start, self._decoded = self._decoded, self._decoded + chars
        while len(self._unfinished) > unfinished:
            self._held.append(_Placed(self._unfinished.popleft(), start, self._decoded))

    def _show(self, pieces: Iterable[Piece]) -> list[Written]:
        written: list[Written] = []
        for piece in pieces:
            if self._stops.hit:
                break
            if isinstance(piece, Said):
                written += self._say(piece)
            else:
                written += [*self._leave_off(), piece]
        return written

    def _say(self, said: Said) -> list[Written]:
        before: list[Written] = []
        if said.start != self._said:  # behind markup
            before = self._leave_off()
            while self._held and self._held[0].stop <= said.start:
                self._held.popleft()
            self._shown = said.start
        self._said, self._kind = said.stop, said.kind
        text = self._stops.push(said.text) if said.kind == "text" else said.text
        self._shown += len(text)
        return [*before, *self._shown_with(text, self._leaving())]

    def _leave_off(self, *, last: bool = False) -> list[Written]:
        """No more text follows what was said, but markup. The `last` text is that of all tokens that are left."""
        if self._stops.hit:
            return []
        text = self._stops.flush() if self._kind == "text" else ""
        self._shown += len(text)
        logprobs = self._leaving()
        while self._held and (last or self._held[0].start < self._shown):
            logprobs.append(self._held.popleft().logprob)
        return self._shown_with(text, logprobs)

    def _shown_with(self, text: str, logprobs: list[TokenLogprob]) -> list[Written]:
        return [Shown(text, logprobs, self._kind)] if text or logprobs else []

    def _leaving(self) -> list[TokenLogprob]:
        """Of the tokens that are in what is shown by now."""
        logprobs: list[TokenLogprob] = []
        while self._held and self._is_shown(self._held[0]):
            logprobs.append(self._held.popleft().logprob)
        return logprobs

    def _is_shown(self, token: _Placed) -> bool:
        if self._stops.hit:
            return token.start < self._shown
        return token.stop <= self._shown
