"""Which sequences compute in the next step, and how much of their prompts they read in it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from inference.engine.sequence import Sequence

#: Prompt tokens read per step, all sequences together, so that a long prompt does not hold up those that decode.
PREFILL_TOKENS_PER_STEP = 512


class Turn(NamedTuple):
    """A sequence's part of a step: so many tokens of its prompt, or, with 0, one token of its answer."""

    sequence: Sequence
    prefill_tokens: int


class Scheduler:
    """First come, first served into `max_in_flight` places; prompts in them are read in turns.

    `add` may be called from any thread, everything else from the owner thread.
    """

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)

    @property
    def has_work(self) -> bool:
        return bool(self._running or self._waiting)

    def plan(self) -> list[Turn]:
        """The turns of one step."""
        self._running = [sequence for sequence in self._running if not sequence.ended]
        self._admit()
        reading = [sequence for sequence in self._running if sequence.unread_tokens]
        turns = [Turn(sequence, 0) for sequence in self._running if not sequence.unread_tokens]
        left = PREFILL_TOKENS_PER_STEP
        for sequence in reading:
            if left == 0:
                break
            tokens = min(left, sequence.unread_tokens)
            left -= tokens
            turns.append(Turn(sequence, tokens))
            # Whoever reads now goes to the back, so that short prompts do not wait for a long one.
            self._running.remove(sequence)
            self._running.append(sequence)
        return turns

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._max_in_flight:
            sequence = self._waiting.popleft()
            if not sequence.ended:  # cancelled while it waited
                sequence.running = True
                self._running.append(sequence)
