"""Reasoning, text and calls, told apart while an answer is written: one parser for streams and whole answers.

However an answer was cut into pieces, the same comes of it (ENGINE_NOTES 5, row 1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto

from inference.engine.answers.markup.bodies import behind
from inference.engine.answers.markup.call_reader import CallReader
from inference.engine.answers.markup.cut_calls import Kept
from inference.engine.answers.markup.json_scanner import BrokenError
from inference.engine.answers.markup.lexer import Item, Lexer
from inference.engine.answers.markup.llama_calls import LlamaBody
from inference.engine.answers.markup.pieces import Arguments, Begun, CallPiece, Complete, Found, Piece, Said
from inference.engine.answers.markup.reasoning import Reasoning
from inference.engine.answers.markup.speech import LINE_ENDS, SPACES, Speech
from inference.engine.answers.markup.xml_call import Coerce
from inference.engine.families import CallForm, Family, Marker


class _Place(Enum):
    #: Nothing but spaces was written: reasoning may begin.
    OPENING = auto()
    REASONING = auto()
    ANSWER = auto()


class Parser:
    """Fed with text and the tokens of markers; what is certain comes back at once.

    `thinking` says that the prompt ended within reasoning; without it reasoning may begin as the first thing. Where
    `calls` is false their markup is text. A call comes whole, and is text, unchanged, where it is none or was not
    finished; those that a grammar has `kept` to their form come as they are written, and stay calls where they are
    cut. Without `parallel` the first call is the end of the answer: `stopped`.
    """

    def __init__(
        self,
        family: Family,
        *,
        calls: bool,
        coerce: Coerce,
        thinking: bool = False,
        parallel: bool = True,
        kept: Kept | None = None,
    ) -> None:
        self.stopped = False
        self.complete_calls = 0
        self._calls = family.calls if calls else None
        self._coerce = coerce
        self._parallel = parallel
        self._kept = kept
        self._lexer = Lexer(_markers(family, calls=calls))
        self._out: list[Found] = []
        self._items: deque[Item] = deque()
        self._blank: list[Item] = []  # before it is known what begins
        self._reasoning = Reasoning(family.reasoning, self._out) if family.reasoning else None
        self._place = _Place.ANSWER
        if self._reasoning:
            self._place = _Place.REASONING if thinking else _Place.OPENING
        self._speech = Speech(self._out, "text", holds=calls)
        self._call: CallReader | None = None

    @property
    def thinking(self) -> bool:
        """Whether what comes next is reasoning, unless a marker ends it."""
        return self._place is _Place.REASONING

    @property
    def begins_thinking(self) -> int | None:
        """The token that would begin reasoning if it came next, None where none would."""
        opening = self._place is _Place.OPENING and self._reasoning
        return self._reasoning.span.begin.token if opening and self._reasoning else None

    def spelling(self, token: int) -> str | None:
        """The text of a marker's own token, None of any other one."""
        marker = self._lexer.by_token.get(token)
        return marker and marker.text

    def text(self, text: str) -> list[Piece]:
        self._read(self._lexer.text(text))
        return self._certain()

    def marker(self, token: int) -> list[Piece]:
        """A token that has a `spelling`."""
        self._read(self._lexer.token(token))
        return self._certain()

    def finish(self) -> list[Piece]:
        """The answer is over. A call that is unfinished becomes text, unless it was told as one already, or is kept."""
        self._read(self._without_cut_marker(self._lexer.flush()))
        while self._call is not None:
            self._call.finish()
            if self._call.done:
                self._tell(self._call)
            elif self._is_kept(self._call):
                self._tell_cut(self._call.held)
            else:
                self._give_up(self._call)
            self._read(())
        if self._place is _Place.REASONING and self._reasoning:
            self._reasoning.finish()
        for item in self._blank:
            self._speech.say(item.text, item.start)
        if not self.stopped:
            self._speech.finish()
        return self._certain()

    def _without_cut_marker(self, items: Iterable[Item]) -> Iterator[Item]:
        """The last text, unless it begins the marker of a call that had to be made."""
        for item in items:
            if self._must_call and self._call is None and self._calls and self._calls.begin.text.startswith(item.text):
                self._tell_cut([])
            else:
                yield item

    @property
    def _must_call(self) -> bool:
        return self._kept is not None and self._kept.required and self._place is not _Place.REASONING

    def _is_kept(self, call: CallReader) -> bool:
        """Whether it can be nothing but a call: without a marker it may be the JSON that was asked for."""
        marked = bool(call.held) and isinstance(call.held[0].what, Marker)
        return self._must_call or (self._kept is not None and marked)

    def _tell_cut(self, held: Sequence[Item]) -> None:
        """What is known of a kept call that the answer's bound cut: its name, if it can have no other."""
        told = self._call is not None and self._call.told
        written = "".join(item.text for item in held if isinstance(item.what, str))
        if self._kept is not None and not told and (name := self._kept.name_of(written)):
            self._out.append(Begun(name, self.complete_calls))
        self._speech = Speech(self._out, "text", drops=SPACES)
        self._call = None

    def _certain(self) -> list[Piece]:
        certain, self._out[:] = list(self._out), ()
        return list(_joined(certain))

    def _read(self, items: Iterable[Item]) -> None:
        self._items.extend(items)
        while self._items and not self.stopped:
            self._read_one(self._items.popleft())

    def _read_one(self, item: Item) -> None:
        if self._place is _Place.OPENING:
            self._open(item)
        elif self._place is _Place.REASONING and self._reasoning:
            if self._reasoning.take(item):
                self._place = _Place.ANSWER
                self._speech = Speech(self._out, "text", drops=LINE_ENDS, holds=self._calls is not None)
        elif self._call is not None:
            self._read_call(self._call, item)
        elif self._calls is not None and item.what == self._calls.begin:
            pieces: list[CallPiece] = []
            body = behind(pieces, self._calls, self._coerce)
            self._call = CallReader(body, pieces, [item], streams=self._kept is not None)
        elif self._may_be_bare(item):
            pieces = []
            self._call = CallReader(LlamaBody(pieces, bare=True), pieces, [], streams=self._kept is not None)
            self._items.appendleft(item)
        else:
            self._speech.say(item.text, item.start)

    def _open(self, item: Item) -> None:
        if self._reasoning and item.what == self._reasoning.span.begin:
            self._place, self._blank = _Place.REASONING, []
        elif not item.text.strip():
            self._blank.append(item)
        else:
            self._place = _Place.ANSWER
            self._items.extendleft(reversed([*self._blank, item]))
            self._blank = []

    def _may_be_bare(self, item: Item) -> bool:
        """Whether this begins an answer that is a call without a marker before it."""
        bare = self._calls is not None and self._calls.form is CallForm.LLAMA
        return bare and not (self._speech.begun or self.complete_calls) and item.text.lstrip().startswith("{")

    def _read_call(self, call: CallReader, item: Item) -> None:
        try:
            left = call.read(item)
            self._tell(call)
        except BrokenError:
            self._give_up(call)
            return
        if left:
            self._items.appendleft(left)

    def _tell(self, call: CallReader) -> None:
        """Say what is certain of it. The spaces around it are the template's."""
        for piece in call.certain():
            self._out.append(piece._replace(call=self.complete_calls))
            if isinstance(piece, Complete):
                self.complete_calls += 1
                self.stopped = not self._parallel
            if self.stopped:
                break
        if call.told:
            self._speech = Speech(self._out, "text", drops=SPACES)
        if call.done:
            self._call = None

    def _give_up(self, call: CallReader) -> None:
        """It is text up to the last marker in it, which may begin a call of its own.

        To begin again at each marker would take the square of the length.
        """
        self._call = None
        again = _last_marker(call.held, self._calls and self._calls.begin)
        for item in call.held[:again]:
            self._speech.say(item.text, item.start)
        self._items.extendleft(reversed(call.held[again:]))


def _markers(family: Family, *, calls: bool) -> list[Marker]:
    of_calls = family.calls
    found = [of_calls.begin, of_calls.end, of_calls.quote, of_calls.arguments, of_calls.call_id] if calls else []
    if family.reasoning:
        found += [family.reasoning.begin, family.reasoning.end]
    return [marker for marker in found if marker]


def _last_marker(held: Sequence[Item], begin: Marker | None) -> int:
    """Its place after the first item; the length where there is none."""
    places = (place for place in range(len(held) - 1, 0, -1) if held[place].what == begin)
    return next(places, len(held))


def _joined(pieces: Iterable[Found]) -> Iterator[Piece]:
    """Pieces of one kind that follow each other as one. That a call is complete is nobody's business but ours."""
    run: list[Said | Arguments] = []
    for piece in pieces:
        if run and not _follows(piece, run[-1]):
            yield _one(run)
            run = []
        if isinstance(piece, Said | Arguments):
            run.append(piece)
        elif isinstance(piece, Begun):
            yield piece
    if run:
        yield _one(run)


def _follows(piece: Found, last: Said | Arguments) -> bool:
    if isinstance(piece, Said) and isinstance(last, Said):
        return piece.kind == last.kind and piece.start == last.stop
    return isinstance(piece, Arguments) and isinstance(last, Arguments)


def _one(run: list[Said | Arguments]) -> Said | Arguments:
    return run[0]._replace(text="".join(piece.text for piece in run))
