"""What the parser makes of an answer."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["reasoning", "text"]


class Said(NamedTuple):
    """Text that is shown: an answer's own, or what was thought before it.

    It is exactly what stands at `start`, in characters, in all that was written with its markers.
    """

    kind: Kind
    text: str
    start: int

    @property
    def stop(self) -> int:
        return self.start + len(self.text)


class Begun(NamedTuple):
    """A call of a tool. The calls of an answer are numbered from 0."""

    name: str
    call: int = 0


class Arguments(NamedTuple):
    """The next characters of a call's arguments: compact JSON of an object."""

    text: str
    call: int = 0


class Complete(NamedTuple):
    """A call has all its arguments."""

    call: int = 0


CallPiece = Begun | Arguments | Complete

#: What is found in an answer, and what of it is told.
Found = Said | CallPiece
Piece = Said | Begun | Arguments
