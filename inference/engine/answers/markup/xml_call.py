"""A call that is written as Qwen does since its coders: a line for the tool, and one for each argument."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from inference.engine.answers.markup.json_calls import NO_ARGUMENTS
from inference.engine.answers.markup.json_scanner import BrokenError
from inference.engine.answers.markup.pieces import Arguments, Begun, CallPiece, Complete
from inference.engine.families import Marker

OPENING = "<function="
CLOSING = "</function>"
_LONGEST_HEAD = 300

_CALL = re.compile(r"\s*<function=([^<>\n]+)>(.*)</function>\s*", re.DOTALL)
#: A value may hold anything but what would end it: the next argument, or the end of them all, behind its own end.
_ARGUMENT = re.compile(r"\s*<parameter=([^<>\n]+)>(.*?)</parameter>\s*(?=<parameter=|\Z)", re.DOTALL)

#: JSON of the value of an argument, by the names of tool and argument and the text that was written.
Coerce = Callable[[str, str, str], str]


class XmlBody:
    """From `<function=` on. It ends at the marker that follows `</function>`: any other is part of a value."""

    def __init__(self, pieces: list[CallPiece], end: Marker, coerce: Coerce) -> None:
        self.done = False
        self._pieces = pieces
        self._end = end
        self._coerce = coerce
        self._parts: list[str] = []
        self._tail = ""  # the last characters but spaces, as many as tell whether a marker ends the call
        self._spaced = False
        self._headed = False

    def text(self, text: str) -> int:
        self._parts.append(text)
        if written := text.rstrip():
            self._tail = (("" if self._spaced else self._tail) + written)[-len(CLOSING) :]
        self._spaced = len(written) < len(text) or (self._spaced and not text)
        if not self._headed:
            self._check_head("".join(self._parts))
        return len(text)

    def _check_head(self, head: str) -> None:
        """So that prose about a call does not wait for one to end."""
        name, closed, _ = head.removeprefix(OPENING).partition(">")
        self._headed = bool(closed)
        if "\n" in name or "<" in name or len(name) > _LONGEST_HEAD:
            raise BrokenError

    def marker(self, marker: Marker) -> None:
        if marker != self._end or self._tail != CLOSING:
            self.text(marker.text)
            return
        self._pieces += _read("".join(self._parts), self._coerce)
        self.done = True

    def finish(self) -> None:
        """Its own end was not written."""


def _read(text: str, coerce: Coerce) -> list[CallPiece]:
    """The call that stands between two markers. Raises BrokenError where it is none."""
    call = _CALL.fullmatch(text)
    if call is None or not (name := call[1].strip()):
        raise BrokenError
    values = {key: coerce(name, key, value) for key, value in _arguments(call[2]).items()}
    return [Begun(name), Arguments(_object(values)), Complete()]


def _arguments(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    at = 0
    while argument := _ARGUMENT.match(text, at):
        found[argument[1].strip()] = _without_own_lines(argument[2])
        at = argument.end()
    if text[at:].strip():
        raise BrokenError
    return found


def _without_own_lines(value: str) -> str:
    """Templates put a value on lines of its own."""
    return value.removeprefix("\n").removesuffix("\n")


def _object(values: Mapping[str, str]) -> str:
    members = [f"{json.dumps(key, ensure_ascii=False)}:{value}" for key, value in values.items()]
    return "{" + ",".join(members) + "}" if members else NO_ARGUMENTS
