"""Calls that are written in JSON: an object with a name and arguments, or a list of them."""

from __future__ import annotations

import json

from inference.engine.answers.markup.json_scanner import BrokenError, JsonScanner, Lexeme
from inference.engine.answers.markup.pieces import Arguments, Begun, CallPiece, Complete
from inference.engine.families import Marker

NO_ARGUMENTS = "{}"

_ARGUMENTS = ("arguments", "parameters")

#: What a call without a marker may hold, so that other JSON is soon known to be none.
_KEYS = ("name", "type", *_ARGUMENTS)


class JsonCall:
    """One `{"name": .., "arguments": {..}}`, by its lexemes. What is known of it is added to `pieces`.

    `depth` is that of its own braces. A `bare` one is a call only if it has a name, arguments, and nothing else.
    Raises BrokenError when it is no call, whatever follows.
    """

    def __init__(self, pieces: list[CallPiece], *, depth: int, bare: bool) -> None:
        self._pieces = pieces
        self._depth = depth
        self._bare = bare
        self._key: list[str] = []
        self._field = ""
        self._value: list[str] = []  # of a name, and of arguments that are no object
        self._in_object = False
        self._name: str | None = None
        self._begun = False
        self._has_arguments = False
        self._held: list[str] = []  # arguments that came before the name

    def take(self, lexeme: Lexeme) -> None:
        if lexeme.depth > self._depth:
            self._take_within(lexeme)
        elif lexeme.role == "key":
            self._key.append(lexeme.text)
        elif lexeme.role != "punctuation":
            self._take_plain(lexeme)
        elif lexeme.text == ":":
            self._begin_field()
        elif lexeme.text in ",}":
            self._end_field()

    def end(self) -> None:
        """Its last brace was written."""
        if self._name is None or (self._bare and not self._has_arguments):
            raise BrokenError
        if not self._has_arguments:
            self._add(NO_ARGUMENTS)
        self._begin()
        self._pieces.append(Complete())

    def _begin_field(self) -> None:
        self._field, self._key, self._value = json.loads("".join(self._key)), [], []
        if self._field in _ARGUMENTS:
            if self._has_arguments:
                raise BrokenError
            self._has_arguments = True
            if self._name is not None:
                self._begin()
        elif (self._field == "name" and self._name is not None) or (self._bare and self._field not in _KEYS):
            raise BrokenError

    def _take_within(self, lexeme: Lexeme) -> None:
        """A part of a value that is an object or a list."""
        if self._field in _ARGUMENTS:
            if not self._in_object and lexeme.text != "{":
                raise BrokenError
            self._in_object = True
            self._add(lexeme.text)
        elif self._field == "name":
            raise BrokenError

    def _take_plain(self, lexeme: Lexeme) -> None:
        """A part of any other value."""
        if self._field == "name" or self._field in _ARGUMENTS:
            self._value.append(lexeme.text)
        if self._field == "name" and lexeme.text == '"' and len(self._value) > 1:
            self._name = json.loads("".join(self._value))
            if not self._name:
                raise BrokenError
            if not self._bare:
                self._begin()

    def _end_field(self) -> None:
        if self._field == "name" and self._name is None:
            raise BrokenError
        if self._field in _ARGUMENTS and not self._in_object:
            self._add(_object_in(json.loads("".join(self._value))))
        self._field, self._in_object = "", False

    def _begin(self) -> None:
        if not self._begun and self._name is not None:
            self._begun = True
            self._pieces.append(Begun(self._name))
            self._pieces += [Arguments(text) for text in self._held]

    def _add(self, text: str) -> None:
        if self._begun:
            self._pieces.append(Arguments(text))
        else:
            self._held.append(text)


class JsonBody:
    """An object that is a call, or a list of such objects. It ends with its last bracket."""

    def __init__(self, pieces: list[CallPiece], *, bare: bool = False) -> None:
        self.done = False
        self._pieces = pieces
        self._bare = bare
        self._scanner = JsonScanner()
        self._call: JsonCall | None = None
        self._depth = 0

    def text(self, text: str) -> int:
        for lexeme in self._scanner.push(text):
            if not self._depth:
                self._depth = 2 if lexeme.text == "[" else 1
            if self._call is not None:
                self._call.take(lexeme)
                if lexeme.text == "}" and lexeme.depth == self._depth and lexeme.role == "punctuation":
                    self._call.end()
                    self._call = None
            elif lexeme.depth == self._depth and lexeme.text == "{":
                self._call = JsonCall(self._pieces, depth=self._depth, bare=self._bare)
            elif lexeme.depth == self._depth or lexeme.role != "punctuation":
                raise BrokenError  # it is no list of objects
        self.done = self._scanner.done
        return self._scanner.taken

    def marker(self, marker: Marker) -> None:
        self.text(marker.text)

    def finish(self) -> None:
        """Its own end was not written."""


def compact(text: str) -> str:
    """An object or a list without its spaces. Raises BrokenError where the text is neither."""
    scanner = JsonScanner()
    lexemes = [lexeme.text for lexeme in scanner.push(text)]
    if not scanner.done or text[scanner.taken :].strip():
        raise BrokenError
    return "".join(lexemes)


def _object_in(value: object) -> str:
    """Arguments that were written as nothing, or as a string of JSON, as models do that saw them so."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return NO_ARGUMENTS
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return compact(value)
    raise BrokenError
