"""Which sequences compute in the next step, and how much of their prompts is read in it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from inference.engine.generation import Generation
from inference.engine.sequence import Sequence

#: Prompt tokens read per step, all requests together, so that a long prompt does not hold up those that decode.
PREFILL_TOKENS_PER_STEP = 512


class Place(NamedTuple):
    """A sequence in the step, or waiting for it, and the request it is a part of."""

    generation: Generation
    sequence: Sequence


class Turn(NamedTuple):
    """A part of a step: so many tokens of a request's prompt, or, with 0, one token of one sequence."""

    generation: Generation
    sequence: Sequence
    prefill_tokens: int


class Scheduler:
    """First come, first served into `max_in_flight` places, one for each sequence; prompts are read in turns.

    The first sequence of a request reads the prompt in its place, and the others wait for it in theirs.
    `add` may be called from any thread, everything else from the owner thread.
    """

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._waiting: deque[Place] = deque()
        self._running: list[Place] = []

    def add(self, generation: Generation) -> None:
        self._waiting.extend(Place(generation, sequence) for sequence in generation.sequences)

    @property
    def has_work(self) -> bool:
        return bool(self._running or self._waiting)

    def plan(self) -> list[Turn]:
        """The turns of one step."""
        self._running = [place for place in self._running if not place.sequence.ended]
        self._admit()
        reading = [place for place in self._running if place.generation.unread_tokens and place.sequence.index == 0]
        turns = [Turn(*place, 0) for place in self._running if not place.generation.unread_tokens]
        left = PREFILL_TOKENS_PER_STEP
        for place in reading:
            if left == 0:
                break
            tokens = min(left, place.generation.unread_tokens)
            left -= tokens
            turns.append(Turn(*place, tokens))
            # Whoever reads now goes to the back, so that short prompts do not wait for a long one.
            self._running.remove(place)
            self._running.append(place)
        return turns

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._max_in_flight:
            place = self._waiting.popleft()
            if not place.sequence.ended:  # cancelled while it waited
                place.sequence.running = True
                self._running.append(place)
