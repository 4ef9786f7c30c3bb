"""Which sequences compute in the next step, how many tokens of each, and who gives way when memory runs out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from inference.engine.blocks import OutOfBlocksError
from inference.engine.generation import Generation
from inference.engine.model import LoadedModel
from inference.engine.sequence import Sequence
from inference.engine.step_limit import StepLimit

logger = logging.getLogger(__name__)

#: Prompt tokens read per step, all requests together, so that a long prompt does not hold up those that decode.
PREFILL_TOKENS_PER_STEP = 512


@dataclass(eq=False)
class Place:
    """A sequence in the step, or waiting for it. Of two, the one of the lower `number` came first and is the older."""

    number: int
    generation: Generation
    sequence: Sequence
    read_in_step: int = 0

    @property
    def model(self) -> LoadedModel:
        return self.generation.model


class Turn(NamedTuple):
    """A part of a step: so many tokens of one sequence, whose memory is reserved."""

    generation: Generation
    sequence: Sequence
    tokens: int


class Scheduler:
    """First come, first served into `max_in_flight` places, one for each sequence.

    Every sequence that decodes does so in every step; what is left of the step's tokens goes to prompts, in turns.
    When a model's blocks run out its newest sequence gives way: it loses its memory and waits, in front, to read again
    what it had read. The oldest never gives way, and fits alone, so there is always one that ends.
    `add` may be called from any thread, everything else from the owner thread.
    """

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self._numbers = count()
        self._steps = count(1)
        self._arrived: deque[Generation] = deque()
        self._waiting: deque[Place] = deque()
        self._running: list[Place] = []
        self._turns: dict[Place, int] = {}
        self._limit = StepLimit(PREFILL_TOKENS_PER_STEP)

    def add(self, generation: Generation) -> None:
        self._arrived.append(generation)

    @property
    def has_work(self) -> bool:
        return bool(self._running or self._waiting or self._arrived)

    def plan(self) -> list[Turn]:
        """The turns of one step. Whoever is in it has the memory for it."""
        self._running = [place for place in self._running if not place.sequence.ended]
        self._admit()
        self._turns = {}
        ready = [place for place in self._running if place.generation.begin(place.sequence)]
        for place in ready:
            if place.sequence.unread_tokens == 1:
                self._take_turn(place, 1)
        self._take_prefill_turns(place for place in ready if place.sequence.unread_tokens > 1)
        return [Turn(place.generation, place.sequence, tokens) for place, tokens in self._turns.items()]

    def shrink(self, prompt_tokens: int) -> int | None:
        """Plan smaller steps: one of so many prompt tokens had no room. Returns how many to try; None for no fewer."""
        return self._limit.shrink(prompt_tokens)

    def _take_prefill_turns(self, reading: Iterable[Place]) -> None:
        step = next(self._steps)
        left = self._limit.tokens
        self._limit.grow()
        # Whoever reads now goes to the back, so that short prompts do not wait for a long one.
        for place in sorted(reading, key=lambda place: place.read_in_step):
            if left == 0:
                return
            tokens = min(left, place.sequence.unread_tokens)
            if self._take_turn(place, tokens):
                place.read_in_step = step
                left -= tokens

    def _take_turn(self, place: Place, tokens: int) -> bool:
        """Reserve the memory for a turn, at the cost of newer sequences. False if it is `place` that gave way."""
        while place.sequence.running:
            try:
                place.sequence.reserve(tokens)
            except OutOfBlocksError:
                self._make_room(place.model)
            else:
                self._turns[place] = tokens
                return True
        return False

    def _make_room(self, model: LoadedModel) -> None:
        """Free blocks: those of prompts that are kept for choices to come, else those of the newest sequence."""
        kept = {place.generation for place in (*self._running, *self._waiting) if place.generation.shared_prompt}
        if kept := {generation for generation in kept if generation.model is model}:
            for generation in kept:
                generation.unshare_prompt()
            return
        newest = max((place for place in self._running if place.model is model), key=lambda place: place.number)
        logger.info("request %s gives way: the memory of %s is full", newest.generation.id, model.id)
        self._running.remove(newest)
        self._turns.pop(newest, None)
        newest.sequence.preempt()
        self._waiting.appendleft(newest)

    def _admit(self) -> None:
        """Fill the places. Behind one whose model has no memory for it now, only other models' sequences pass."""
        while self._arrived:
            generation = self._arrived.popleft()
            self._waiting += [Place(next(self._numbers), generation, sequence) for sequence in generation.sequences]
        passed: list[Place] = []
        full: set[LoadedModel] = set()
        while self._waiting and len(self._running) < self.max_in_flight:
            place = self._waiting.popleft()
            if place.sequence.ended:  # cancelled while it waited
                continue
            if place.model in full or not self._fits(place):
                full.add(place.model)
                passed.append(place)
                continue
            place.sequence.running = True
            self._running.append(place)
        self._waiting.extendleft(reversed(passed))
        self._running.sort(key=lambda place: place.number)

    def _fits(self, place: Place) -> bool:
        """Whether the model has blocks for it besides those that its running sequences are about to take."""
        others = [other.sequence for other in self._running if other.model is place.model]
        promised = sum(max(0, sequence.missing_blocks) for sequence in others)
        return not others or place.sequence.missing_blocks <= place.model.runner.pool.free_blocks - promised
