"""Calls as Llama writes them."""

from __future__ import annotations

from inference.engine.answers.markup.json_calls import JsonBody
from inference.engine.answers.markup.pieces import CallPiece
from inference.engine.families import Marker


class LlamaBody:
    """Objects that are calls, with semicolons between them. They end with the answer.

    A `bare` one is the whole answer, without a marker before it.
    """

    def __init__(self, pieces: list[CallPiece], *, bare: bool) -> None:
        self.done = False
        self._pieces = pieces
        self._bare = bare
        self._call = JsonBody(pieces, bare=bare)
        self._between = False

    def text(self, text: str) -> int:
        at = 0
        while at < len(text):
            if self._call.done:
                self._call, self._between = JsonBody(self._pieces, bare=self._bare), True
            if self._between:
                space = len(text) - len(text[at:].lstrip(" \t\r\n;"))
                at, self._between = space, space == len(text)
            else:
                at += self._call.text(text[at:])
        return len(text)

    def marker(self, marker: Marker) -> None:
        self.text(marker.text)

    def finish(self) -> None:
        self.done = self._call.done or self._between
