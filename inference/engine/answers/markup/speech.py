"""Text that is shown, without the spaces that templates put around markers."""

from __future__ import annotations

from inference.engine.answers.markup.pieces import Found, Kind, Said

SPACES = " \t\r\n"
LINE_ENDS = "\r\n"


class Speech:
    """Text between markers. What is certain of it is added to `pieces`.

    `drops` are characters that are left out before the first other one. One that `holds` keeps spaces back, which are
    the template's where a marker follows.
    """

    def __init__(self, pieces: list[Found], kind: Kind, *, drops: str = "", holds: bool = True) -> None:
        self.begun = False
        self._pieces = pieces
        self._kind: Kind = kind
        self._drops = drops
        self._holds = holds
        self._held: list[Found] = []

    def say(self, text: str, start: int) -> None:
        if self._drops:
            kept = text.lstrip(self._drops)
            text, start = kept, start + len(text) - len(kept)
        if not text:
            return
        self._drops = ""
        certain = text.rstrip(SPACES) if self._holds else text
        if certain:
            self.begun = True
            self._pieces += [*self._held, Said(self._kind, certain, start)]
            self._held = []
        if len(certain) < len(text):
            self._held.append(Said(self._kind, text[len(certain) :], start + len(certain)))

    def finish(self) -> None:
        """No marker follows."""
        self._pieces += self._held
        self._held = []
