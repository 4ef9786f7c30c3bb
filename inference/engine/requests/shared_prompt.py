"""One of the prompts of a request, read once and shared by the choices that continue it."""

from __future__ import annotations

from inference.engine.memory.blocks import BlockTable
from inference.engine.requests.sequence import Sequence


class SharedPrompt:
    """The first of its sequences reads it; the others share its blocks and wait until it has.

    `number` is its place among the request's prompts, and `echo` what each choice shows of it before its own text.
    Advanced by the owner thread only; made by others.
    """

    def __init__(self, number: int, tokens: int, sequences: list[Sequence], *, echo: str) -> None:
        self.number = number
        self.tokens = tokens
        self.sequences = sequences
        self.echo = echo
        self.kept: BlockTable | None = None
        self.started = False
        self._read = False
        self._echoed: set[Sequence] = set()

    @property
    def cached_tokens(self) -> int:
        """How much of it was in memory already."""
        return self.sequences[0].cached_tokens

    def is_ready(self, sequence: Sequence) -> bool:
        return self._read or sequence is self.sequences[0]

    def begin(self, sequence: Sequence) -> None:
        """A sequence that is ready has got a place, for the first time or again."""
        sequence.begin(None if sequence.begun else self.kept)
        if all(one.begun for one in self.sequences):
            self.forget()

    def was_read(self, sequence: Sequence) -> None:
        """One of its sequences has all of it in memory: those that come now begin there."""
        if not self._read and len(self.sequences) > 1:
            self.kept = sequence.table.fork(self.tokens)
        self._read = True

    def forget(self) -> None:
        """Let go of what is kept for choices to come. They read it themselves if they come after this."""
        if self.kept is not None:
            kept, self.kept = self.kept, None
            kept.release()

    def echoed(self, sequence: Sequence) -> str:
        """What a sequence is to show of it now: nothing from the second time on."""
        if sequence in self._echoed:
            return ""
        self._echoed.add(sequence)
        return self.echo
