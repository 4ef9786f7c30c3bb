"""One JSON value, read as it comes: is it JSON so far, is it complete, and what is it without its spaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_SPACE = re.compile(r"[ \t\r\n]+")
_WORD = re.compile(r"[-+.0-9A-Za-z]+")
_WHOLE_WORD = re.compile(r"true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_HEX = re.compile(r"[0-9a-fA-F]")
_CLOSES = {"}": "{", "]": "["}

#: Of objects and lists within each other; whoever reads the value may descend into it on a stack.
_DEEPEST = 200
_LONGEST_WORD = 400

_NO_CHARACTER = "\\ufffd"

Role = Literal["punctuation", "key", "string", "word"]


class BrokenError(ValueError):
    """What was written is not, and cannot become, what it began as."""


class Lexeme(NamedTuple):
    """The next characters of the value: a bracket, a comma, a colon, or a part of a string, key or word.

    `depth` counts the brackets that are open around it; those of its own count as around it.
    """

    text: str
    role: Role
    depth: int


class JsonScanner:
    """Scans an object or a list, however it is cut into pieces, in time linear in its length.

    Control characters within a string, which models write, are escaped, and half a surrogate pair is no character.
    Raises BrokenError at the first character that no JSON value can have there.
    """

    def __init__(self) -> None:
        self.done = False
        self.taken = 0
        self._open: list[str] = []
        self._expects: Literal["value", "value or end", "key", "key or end", "colon", "comma or end"] = "value"
        self._role: Role = "punctuation"
        self._word = ""
        self._escape = ""
        self._high_surrogate = ""

    def push(self, text: str) -> Iterator[Lexeme]:
        """Scan on, up to the end of the text or the value; `taken` says how many characters of this text that was."""
        self.taken = 0
        while self.taken < len(text) and not self.done:
            if self._role in ("key", "string"):
                yield from self._string(text)
            elif self._role == "word":
                yield from self._rest_of_word(text)
            elif space := _SPACE.match(text, self.taken):
                self.taken = space.end()
            else:
                yield from self._next(text)

    def _next(self, text: str) -> Iterator[Lexeme]:
        character = text[self.taken]
        if not self._open and character not in "{[":
            raise BrokenError
        if character in "{[":
            self._expect("value", "value or end")
            if len(self._open) == _DEEPEST:
                raise BrokenError
            self._open.append(character)
            self._expects = "key or end" if character == "{" else "value or end"
            yield self._take(character, "punctuation")
        elif character in "}]":
            self._expect("comma or end", "key or end" if character == "}" else "value or end")
            if self._open[-1] != _CLOSES[character]:
                raise BrokenError
            yield self._take(character, "punctuation")
            self._open.pop()
            self._end_of_value()
        elif character == ",":
            self._expect("comma or end")
            self._expects = "key" if self._open[-1] == "{" else "value"
            yield self._take(character, "punctuation")
        elif character == ":":
            self._expect("colon")
            self._expects = "value"
            yield self._take(character, "punctuation")
        elif character == '"':
            self._expect("value", "value or end", "key", "key or end")
            self._role = "key" if self._expects.startswith("key") else "string"
            yield self._take(character, self._role)
        else:
            self._expect("value", "value or end")
            self._role, self._word = "word", ""

    def _rest_of_word(self, text: str) -> Iterator[Lexeme]:
        if word := _WORD.match(text, self.taken):
            self._word += word[0]
            yield self._take(word[0], "word")
        if len(self._word) > _LONGEST_WORD:
            raise BrokenError
        if self.taken < len(text):
            if not _WHOLE_WORD.fullmatch(self._word):
                raise BrokenError
            self._end_of_value()

    def _string(self, text: str) -> Iterator[Lexeme]:
        character = text[self.taken]
        if self._escape:
            yield from self._escaped(character)
            return
        if self._high_surrogate and character != "\\":
            yield self._unpaired()
        if plain := _PLAIN.match(text, self.taken):
            yield self._take(plain[0], self._role)
        elif character == "\\":
            self._escape = character
            self.taken += 1
        elif character == '"':
            role = self._role
            yield self._take(character, role)
            if role == "key":
                self._role, self._expects = "punctuation", "colon"
            else:
                self._end_of_value()
        else:
            self.taken += 1
            yield self._lexeme(f"\\u{ord(character):04x}")

    def _escaped(self, character: str) -> Iterator[Lexeme]:
        """An escape leaves whole, so that what has left can be read up to any point."""
        self._escape += character
        self.taken += 1
        if len(self._escape) == 2:
            if character not in '"\\/bfnrtu':
                raise BrokenError
        elif not _HEX.match(character):
            raise BrokenError
        if len(self._escape) == (6 if self._escape[1] == "u" else 2):
            escape, self._escape = self._escape, ""
            yield from self._paired(escape)

    def _paired(self, escape: str) -> Iterator[Lexeme]:
        """Surrogates leave together, or as no character."""
        half = escape[2:4].lower() if escape[1] == "u" else ""
        high, self._high_surrogate = self._high_surrogate, ""
        low = half in ("dc", "dd", "de", "df")
        if high:
            yield self._lexeme(high + escape if low else _NO_CHARACTER)
        if half in ("d8", "d9", "da", "db"):
            self._high_surrogate = escape
        elif not low:
            yield self._lexeme(escape)
        elif not high:
            yield self._lexeme(_NO_CHARACTER)

    def _unpaired(self) -> Lexeme:
        self._high_surrogate = ""
        return self._lexeme(_NO_CHARACTER)

    def _expect(self, *any_of: str) -> None:
        if self._expects not in any_of:
            raise BrokenError

    def _end_of_value(self) -> None:
        self._role, self._expects = "punctuation", "comma or end"
        self.done = not self._open

    def _take(self, text: str, role: Role) -> Lexeme:
        self.taken += len(text)
        return Lexeme(text, role, len(self._open))

    def _lexeme(self, text: str) -> Lexeme:
        return Lexeme(text, self._role, len(self._open))
