"""What a model thinks before it answers."""

from __future__ import annotations

from inference.engine.answers.markup.lexer import Item
from inference.engine.answers.markup.pieces import Found
from inference.engine.answers.markup.speech import LINE_ENDS, Speech
from inference.engine.families import Span


class Reasoning:
    """Text up to the marker that ends it, without the label that some models write in front of it."""

    def __init__(self, span: Span, pieces: list[Found]) -> None:
        self.span = span
        self._speech = Speech(pieces, "reasoning", drops=LINE_ENDS)
        self._head = "" if span.label else None  # what may become the label

    def take(self, item: Item) -> bool:
        """Read on. True if that was the end of it."""
        if item.what == self.span.end:
            return True
        if item.what != self.span.begin or self._speech.begun:
            self._say(item.text, item.start)
        return False  # a model whose prompt begins its reasoning may do so once more

    def finish(self) -> None:
        """The answer ends within it."""
        self._speech.finish()

    def _say(self, text: str, start: int) -> None:
        if self._head is not None:
            head, start = self._head + text, start - len(self._head)
            if len(head) < len(self.span.label) and self.span.label.startswith(head):
                self._head = head
                return
            self._head = None
            text = head.removeprefix(self.span.label)
            start += len(head) - len(text)
        self._speech.say(text, start)
