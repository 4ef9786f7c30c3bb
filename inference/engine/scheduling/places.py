"""Sequences that hold a place in the step or wait for one."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

from inference.engine.model import LoadedModel
from inference.engine.requests.generation import Generation
from inference.engine.requests.sequence import Sequence
from inference.engine.scheduling.shares import Share


@dataclass(eq=False)
class Place:
    """A sequence in the step, or waiting for it. Of two, the one of the lower `number` came first and is the older."""

    number: int
    generation: Generation
    sequence: Sequence
    account: Share
    key: Share
    read_in_step: int = 0

    @property
    def model(self) -> LoadedModel:
        return self.generation.model

    @property
    def standing(self) -> tuple[int, int, int, int]:
        """Of two that want the same, the lower one gets it."""
        return -self.generation.priority, self.account.standing, self.key.standing, self.number

    def owes(self, other: Place) -> bool:
        """Whether its sequence should give way to one that waits."""
        if self.generation.priority != other.generation.priority:
            return self.generation.priority < other.generation.priority
        if self.account is not other.account:
            return self.account.owes(other.account)
        return self.key is not other.key and self.key.owes(other.key)

    def count(self, tokens: int) -> None:
        """The next tokens of the sequence are about to be read."""
        served = self.sequence.count(tokens)
        self.account.served += served
        self.key.served += served

    def hold(self, *, running: bool) -> None:
        """It gets a place in the step, or leaves it."""
        self.sequence.running = running
        self.account.running += 1 if running else -1
        self.key.running += 1 if running else -1


class Waiting:
    """Places that wait, by key: within one the older go first, of those that have the same priority."""

    def __init__(self) -> None:
        self._by_key: dict[Share, list[Place]] = {}

    def __iter__(self) -> Iterator[Place]:
        return (place for places in self._by_key.values() for place in places)

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def add(self, place: Place) -> None:
        insort(self._by_key.setdefault(place.key, []), place, key=_age)

    def remove(self, place: Place) -> None:
        places = self._by_key[place.key]
        places.remove(place)
        if not places:
            del self._by_key[place.key]

    def heads(self, *, without: set[LoadedModel]) -> list[Place]:
        """The first of each key that can compute, whoever is due first in front; none of the models `without`."""
        heads = (
            next((place for place in places if place.model not in without and _is_ready(place)), None)
            for places in self._by_key.values()
        )
        return sorted((head for head in heads if head is not None), key=lambda place: place.standing)


def _age(place: Place) -> tuple[int, int]:
    return -place.generation.priority, place.number


def _is_ready(place: Place) -> bool:
    return place.generation.is_ready(place.sequence)
