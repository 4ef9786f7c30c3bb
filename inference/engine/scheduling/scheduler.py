"""Which sequences compute in the next step, how many tokens of each, and who gives way to whom."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

from inference.engine.device.kernel_caches import recurring_up_to
from inference.engine.device.owner import is_device_fault
from inference.engine.limits.pace import MOST_TOKENS, Pace
from inference.engine.limits.step_limit import StepLimit
from inference.engine.memory.blocks import OutOfBlocksError
from inference.engine.model import LoadedModel
from inference.engine.requests.generation import Generation
from inference.engine.requests.sequence import Sequence
from inference.engine.scheduling.places import Place, Waiting
from inference.engine.scheduling.shares import Shares

logger = logging.getLogger(__name__)


class Turn(NamedTuple):
    """A part of a step: so many tokens of one sequence, whose memory is reserved."""

    generation: Generation
    sequence: Sequence
    tokens: int


class Scheduler:
    """Gives `max_in_flight` places, one for each sequence, first by priority, then by share, then by age.

    Every sequence that decodes does so in every step; what a step has left for prompts goes to them, in turns.
    An account without a place gets one at once from the account most over its share, and so does one that has fallen
    far behind. When a model's blocks run out, the newest sequence of the account most over its share gives way: it
    loses its memory and waits, and reads again what was not kept. A sequence fits alone, so there is always one that
    goes on. No place stays empty while somebody waits who can compute.
    `add` may be called from any thread, everything else from the owner thread.
    """

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self._numbers = count()
        self._steps = count(1)
        self._pace = Pace()
        self._accounts = Shares()
        self._arrived: deque[Generation] = deque()
        self._waiting = Waiting()
        self._running: list[Place] = []
        self._turns: dict[Place, int] = {}
        self._prompt_tokens = 0
        self._limit = StepLimit(MOST_TOKENS)
        self._faults: dict[Generation, Exception] = {}

    def add(self, generation: Generation) -> None:
        self._arrived.append(generation)

    def end(self, generation: Generation) -> None:
        """A request is about to end: its sequences that wait leave. Those that run do with the next step."""
        if all(sequence.running or sequence.ended for sequence in generation.sequences):
            return
        for place in [place for place in self._waiting if place.generation is generation]:
            self._waiting.remove(place)
            self._leave(place)

    @property
    def arrived(self) -> list[Generation]:
        """Those that the next plan sees for the first time."""
        return list(self._arrived)

    @property
    def has_work(self) -> bool:
        return bool(self._running or self._waiting or self._arrived)

    @property
    def late(self) -> list[Sequence]:
        """Those that run but sit the steps out, because the masks of their grammars are not ready."""
        return [place.sequence for place in self._running if place.sequence.late]

    def plan(self) -> list[Turn]:
        """The turns of one step. Whoever is in it has the memory for it."""
        self._receive()
        self._drop_ended()
        self._admit()
        self._turns, self._prompt_tokens = {}, 0
        ready = [place for place in self._running if place.sequence.ready]
        for place in [place for place in ready if place.sequence.unread_tokens == 1]:
            self._take_turn(place, 1)
        self._take_prefill_turns([place for place in ready if place.sequence.unread_tokens > 1])
        self._turns = {place: turn for place, turn in self._turns.items() if place.generation not in self._faults}
        for place, tokens in self._turns.items():
            place.count(tokens)
        return [Turn(place.generation, place.sequence, tokens) for place, tokens in self._turns.items()]

    def faults(self) -> list[tuple[Generation, Exception]]:
        """Requests that no turn could be planned for, each with the reason. They are to be ended now."""
        faults, self._faults = self._faults, {}
        return list(faults.items())

    def shrink(self, prompt_tokens: int) -> int | None:
        """Plan smaller steps: one of so many prompt tokens had no room. Returns how many to try; None for no fewer."""
        return self._limit.shrink(prompt_tokens)

    def took(self, seconds: float) -> None:
        """The step that was planned last took so long to compute."""
        decodes = sum(tokens == 1 for tokens in self._turns.values())
        self._pace.measured(seconds, prompt_tokens=self._prompt_tokens, decodes=decodes)

    def check(self, models: Iterable[LoadedModel]) -> None:
        """Prove that the blocks of the models are those of the sequences here: raises AssertionError."""
        generations = {place.generation for place in (*self._running, *self._waiting)}
        for model in models:
            of_model = [generation for generation in generations if generation.model is model]
            model.runner.pool.check(table for generation in of_model for table in generation.tables)

    # -- turns -----------------------------------------------------------------------------------

    def _take_prefill_turns(self, reading: Iterable[Place]) -> None:
        step = next(self._steps)
        left = recurring_up_to(
            min(self._limit.tokens, self._pace.tokens(beside_decodes=bool(self._turns))), beside=len(self._turns)
        )
        self._limit.grow()
        # By share; within one whoever reads now goes to the back, so that short prompts do not wait for a long one.
        for place in sorted(reading, key=lambda place: (*place.standing[:3], place.read_in_step, place.number)):
            if left == 0:
                return
            tokens = min(left, place.sequence.readable_tokens)
            if self._take_turn(place, tokens):
                place.read_in_step = step
                self._prompt_tokens += tokens
                left -= tokens

    def _take_turn(self, place: Place, tokens: int) -> bool:
        """Reserve the memory for a turn, at the cost of others. False if it is `place` that gave way."""
        while place.sequence.running:
            try:
                place.sequence.reserve(tokens)
            except OutOfBlocksError:
                self._make_memory(place.model)
            except Exception as fault:
                self._note(place, fault)
                return False
            else:
                self._turns[place] = tokens
                return True
        return False

    def _make_memory(self, model: LoadedModel) -> None:
        """Free blocks: those of prompts kept for choices to come, else the sequence of the worst standing."""
        kept = {place.generation for place in (*self._running, *self._waiting) if place.generation.keeps_prompts}
        if kept := {generation for generation in kept if generation.model is model}:
            for generation in kept:
                generation.forget_prompts()
            return
        of_model = [place for place in self._running if place.model is model]
        self._preempt(max(of_model, key=lambda place: place.standing), "the memory is full")

    def _preempt(self, place: Place, reason: str) -> None:
        logger.info("request %s gives way on %s: %s", place.generation.id, place.model.id, reason)
        self._running.remove(place)
        self._turns.pop(place, None)
        place.sequence.preempt()
        place.hold(running=False)
        self._waiting.add(place)

    def _note(self, place: Place, fault: Exception) -> None:
        """A fault over the memory of one sequence is its request's own, unless the device is broken."""
        if is_device_fault(fault):
            raise fault
        self._faults.setdefault(place.generation, fault)
        if not place.sequence.running:
            self._waiting.remove(place)
            self._leave(place)

    # -- places ----------------------------------------------------------------------------------

    def _receive(self) -> None:
        while self._arrived:
            generation = self._arrived.popleft()
            for sequence in generation.sequences if not generation.ended else []:
                account = self._accounts.enter(generation.account)
                key = account.keys.enter(generation.key)
                self._waiting.add(Place(next(self._numbers), generation, sequence, account, key))

    def _drop_ended(self) -> None:
        """Take out those that ended since the last step."""
        for place in [place for place in self._running if place.sequence.ended]:
            self._running.remove(place)
            place.hold(running=False)
            self._leave(place)

    def _leave(self, place: Place) -> None:
        self._accounts.leave(place.generation.account)
        place.account.keys.leave(place.generation.key)

    def _admit(self) -> None:
        """Fill the places, and pass on those that are owed.

        Behind one whose model has no memory for it now, only other models' sequences pass.
        """
        full: set[LoadedModel] = set()
        while any(self._admit_one(place, full) for place in self._waiting.heads(without=full)):
            pass
        self._running.sort(key=lambda place: place.number)

    def _admit_one(self, place: Place, full: set[LoadedModel]) -> bool:
        if place.model in full:
            return False
        try:
            return self._give_place(place, full)
        except Exception as fault:
            self._note(place, fault)
            return True

    def _give_place(self, place: Place, full: set[LoadedModel]) -> bool:
        if not self._has_room(place) and not self._make_room(place):
            if len(self._running) < self.max_in_flight:
                full.add(place.model)
            return False
        self._waiting.remove(place)
        self._running.append(place)
        place.hold(running=True)
        place.generation.begin(place.sequence)
        return True

    def _has_room(self, place: Place) -> bool:
        return len(self._running) < self.max_in_flight and self._missing_blocks(place) <= 0

    def _missing_blocks(self, waiting: Place) -> int:
        """What it lacks besides the free blocks that the model's other sequences are about to take."""
        others = [place.sequence for place in self._running if place.model is waiting.model]
        if not others:  # it fits alone
            return 0
        promised = sum(max(0, sequence.missing_blocks) for sequence in others)
        return waiting.sequence.missing_blocks + promised - waiting.model.runner.pool.free_blocks

    def _make_room(self, waiting: Place) -> bool:
        """Let sequences that owe it give way until there is room; none does if it is plain that it is not enough."""
        owing = self._owing(waiting)
        held = sum(len(place.sequence.table.blocks) for place in owing if place.model is waiting.model)
        if not owing or self._missing_blocks(waiting) > held:
            return False
        while owing and not self._has_room(waiting):
            self._preempt(max(owing, key=lambda place: place.standing), f"request {waiting.generation.id} is due")
            owing = self._owing(waiting)
        return self._has_room(waiting)

    def _owing(self, waiting: Place) -> list[Place]:
        """Where a place is missing, of all models; where only memory is, of its own."""
        anywhere = len(self._running) >= self.max_in_flight
        return [place for place in self._running if place.owes(waiting) and (anywhere or place.model is waiting.model)]
