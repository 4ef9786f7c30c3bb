"""Calls as Mistral writes them."""

from __future__ import annotations

import re

from inference.engine.answers.markup.json_calls import JsonBody
from inference.engine.answers.markup.json_scanner import BrokenError, JsonScanner
from inference.engine.answers.markup.pieces import Arguments, Begun, CallPiece, Complete
from inference.engine.families import Calls, Marker

_NAME = re.compile(r"\s*[^\n\[\]{}]*\s*")
_LONGEST_HEAD = 300


class MistralBody:
    """A name, a marker, and the object of its arguments; or the list of calls that older models write. As Mistral's."""

    def __init__(self, pieces: list[CallPiece], calls: Calls) -> None:
        self.done = False
        self._pieces = pieces
        self._calls = calls
        self._head = ""
        self._has_id = False
        self._list: JsonBody | None = None
        self._arguments: JsonScanner | None = None

    def text(self, text: str) -> int:
        if self._list is None and self._arguments is None:
            if (self._head + text).lstrip()[:1] not in ("[", "{"):
                return self._take_head(text)
            self._list = JsonBody(self._pieces)
        if self._list is not None:
            taken = self._list.text(text)
            self.done = self._list.done
            return taken
        return self._take_arguments(text)

    def _take_head(self, text: str) -> int:
        if not self._has_id:
            self._head += text
        if not _NAME.fullmatch(self._head) or len(self._head) > _LONGEST_HEAD:
            raise BrokenError
        return len(text)

    def _take_arguments(self, text: str) -> int:
        assert self._arguments is not None
        for lexeme in self._arguments.push(text):
            if lexeme == ("[", "punctuation", 1):
                raise BrokenError
            self._pieces.append(Arguments(lexeme.text))
        self.done = self._arguments.done
        if self.done:
            self._pieces.append(Complete())
        return self._arguments.taken

    def marker(self, marker: Marker) -> None:
        if self._list is not None or self._arguments is not None:
            self.text(marker.text)
        elif marker == self._calls.call_id and self._head.strip() and not self._has_id:
            self._has_id = True
        elif marker == self._calls.arguments and self._head.strip():
            self._pieces.append(Begun(self._head.strip()))
            self._arguments = JsonScanner()
        else:
            raise BrokenError

    def finish(self) -> None:
        """Its own end was not written."""
