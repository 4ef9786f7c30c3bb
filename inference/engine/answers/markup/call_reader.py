"""A call while it is being written: held until it is known to be one, or told as it comes."""

from __future__ import annotations

from collections.abc import Iterator

from inference.engine.answers.markup.bodies import Body
from inference.engine.answers.markup.json_scanner import BrokenError
from inference.engine.answers.markup.lexer import Item
from inference.engine.answers.markup.pieces import Arguments, CallPiece, Complete
from inference.engine.families import Marker


class CallReader:
    """What a call, or a list of them, is written with; `held` is all of it as long as nothing was told.

    One that `streams` is told piece by piece, any other when it has ended: each call as its beginning and all of its
    arguments. Raises BrokenError when it is no call.
    """

    def __init__(self, body: Body, pieces: list[CallPiece], held: list[Item], *, streams: bool) -> None:
        self.held = held
        self.told = False
        self._body = body
        self._pieces = pieces
        self._streams = streams

    @property
    def done(self) -> bool:
        return self._body.done

    def read(self, item: Item) -> Item | None:
        """Read on. Returns what is left of the item where the call ended within it."""
        if not self.told:
            self.held.append(item)
        if isinstance(item.what, Marker):
            self._body.marker(item.what)
            return None
        taken = self._body.text(item.what)
        return Item(item.what[taken:], item.start + taken) if taken < len(item.what) else None

    def finish(self) -> None:
        """The answer ends, which may end the call."""
        self._body.finish()

    def certain(self) -> list[CallPiece]:
        """What can be told by now. Raises BrokenError where all of it came to no call."""
        if not (self.done or self._streams):
            return []
        certain, self._pieces[:] = list(self._pieces), ()
        if self.done and not (certain or self.told):
            raise BrokenError
        if certain:
            self.told, self.held = True, []
        return certain if self._streams else list(_whole(certain))


def _whole(pieces: list[CallPiece]) -> Iterator[CallPiece]:
    arguments: list[str] = []
    for piece in pieces:
        if isinstance(piece, Arguments):
            arguments.append(piece.text)
            continue
        if isinstance(piece, Complete):
            yield Arguments("".join(arguments))
            arguments = []
        yield piece
