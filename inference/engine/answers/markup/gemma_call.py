"""A call that is written as Gemma does: `call:NAME{KEY:VALUE,..}`, its strings between quotes of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from inference.engine.answers.markup.json_calls import compact
from inference.engine.answers.markup.json_scanner import BrokenError
from inference.engine.answers.markup.pieces import Arguments, Begun, CallPiece, Complete
from inference.engine.families import Marker

OPENING = "call:"
_LONGEST_HEAD = 300

_NAME = re.compile(r"\s*call:\s*([^\s{}]+)\s*(?={)")
_LEXEME = re.compile(r'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^{}\[\],:"]+|"')
_WORD = re.compile(r"true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class Quoted(NamedTuple):
    """What stood between two quotes."""

    text: str


class GemmaBody:
    """From `call:` on. It ends at the marker that is not between quotes."""

    def __init__(self, pieces: list[CallPiece], end: Marker, quote: Marker) -> None:
        self.done = False
        self._pieces = pieces
        self._end = end
        self._quote = quote
        self._parts: list[str | Quoted] = []
        self._part: list[str] = []
        self._quoted = False
        self._head = ""

    def text(self, text: str) -> int:
        self._part.append(text)
        if "{" not in self._head:
            self._head += text
            if len(self._head.partition("{")[0]) > _LONGEST_HEAD:
                raise BrokenError
        return len(text)

    def marker(self, marker: Marker) -> None:
        if marker == self._quote:
            self._cut()
            self._quoted = not self._quoted
        elif marker == self._end and not self._quoted:
            self._cut()
            self._pieces += _read(self._parts)
            self.done = True
        else:
            self.text(marker.text)

    def _cut(self) -> None:
        text, self._part = "".join(self._part), []
        self._parts.append(Quoted(text) if self._quoted else text)

    def finish(self) -> None:
        """Its own end was not written."""


def _read(parts: Sequence[str | Quoted]) -> list[CallPiece]:
    """The call between two markers, its text in parts. Raises BrokenError where it is none."""
    name = _NAME.match(parts[0]) if parts and isinstance(parts[0], str) else None
    if name is None or not isinstance(parts[0], str):
        raise BrokenError
    arguments = "".join(_json([parts[0][name.end() :], *parts[1:]]))
    return [Begun(name[1]), Arguments(compact(arguments)), Complete()]


def _json(parts: Sequence[str | Quoted]) -> Iterator[str]:
    """Its arguments as JSON, which is as whole as they are. What has no quotes is a word of JSON, or a string."""
    lexemes = list(_lexemes(parts))
    for lexeme, following in zip(lexemes, [*lexemes[1:], ""], strict=True):
        if isinstance(lexeme, Quoted):
            yield json.dumps(lexeme.text, ensure_ascii=False)
        elif lexeme in "{}[],:" or lexeme.startswith('"'):
            yield lexeme
        else:
            plain = following != ":" and _WORD.fullmatch(lexeme)
            yield lexeme if plain else json.dumps(lexeme, ensure_ascii=False)


def _lexemes(parts: Sequence[str | Quoted]) -> Iterator[str | Quoted]:
    for part in parts:
        if isinstance(part, Quoted):
            yield part
            continue
        for lexeme in _LEXEME.finditer(part):
            if lexeme[0] == '"':  # without its like: to look for it again and again takes the square of the length
                raise BrokenError
            if stripped := lexeme[0].strip():
                yield stripped
