"""Copies of the keys and values that decodes read, kept from step to step.

Attention of single rows multiplies copies (`attention.py`), and of a copy one key of each sequence is new in a step.
Where what is kept is not exactly what the next step needs it is copied anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from inference.engine.memory.key_values import wide


class Member(NamedTuple):
    """A sequence of a group, by the number of its block table, and its tokens with the one that the step adds."""

    table: int
    tokens: int


class Group(NamedTuple):
    """Which keys a call reads: of each member its first `width`."""

    members: tuple[Member, ...]
    width: int

    def follows(self, earlier: Group) -> bool:
        """Whether each member has one token more than in an earlier step, and all else is as it was."""
        return (
            self.width == earlier.width
            and len(self.members) == len(earlier.members)
            and all(
                member.table == before.table and member.tokens == before.tokens + 1
                for member, before in zip(self.members, earlier.members, strict=True)
            )
        )


class Kept:
    """The copies of one group: of each layer its keys and values, (2 * kv_heads, sequences, width, head_dim).

    Made from those of an earlier step: they are continued where the group `follows`, and else written over, since
    memory that is asked for anew comes a page at a time: 0.22 ms for a copy of 4.7 MB against 0.5 to 0.8.
    """

    def __init__(self, group: Group, before: Kept | None = None) -> None:
        self.group = group
        self._room: dict[int, Tensor] = before._room if before else {}
        self._layers: dict[int, Tensor] = before._layers if before and group.follows(before.group) else {}
        ends = [at * group.width + member.tokens - 1 for at, member in enumerate(group.members)]
        self._ends = torch.tensor(ends)

    def read(self, layer: int, new: Tensor, copy: Callable[[Tensor], object]) -> Tensor:
        """The group's keys and values with those that the step adds, (2 * kv_heads, sequences, head_dim).

        `copy` writes all of them, those of the step too, where none are kept.
        """
        kept = self._layers.get(layer)
        if kept is None:
            kept = self._layers[layer] = self._empty(layer, new)
            copy(kept)
        else:
            wide(kept.flatten(1, 2)).index_copy_(1, self._ends, wide(new))
        return kept

    def _empty(self, layer: int, new: Tensor) -> Tensor:
        heads, sequences, head_dim = new.shape
        shape = heads, sequences, self.group.width, head_dim
        room = self._room.get(layer)
        if room is None or len(room) < math.prod(shape):
            room = self._room[layer] = new.new_empty(2 * math.prod(shape))  # what is not written takes none
        return room[: math.prod(shape)].view(shape)


class KeptRows:
    """What a runner keeps of its last step, `most_keys` in all groups together. Entered for each step that computes."""

    def __init__(self, most_keys: int) -> None:
        self._most_keys = most_keys
        self._before: dict[tuple[int, ...], Kept] = {}
        self._now: dict[tuple[int, ...], Kept] = {}

    def __enter__(self) -> None:
        self._before, self._now = self._now, {}

    def __exit__(self, fault: type[BaseException] | None, *_details: object) -> None:
        self._before = {}
        if fault is not None:  # for want of memory, maybe; and some layers have the new keys, others have not
            self.forget()

    def of(self, group: Group, window: int | None) -> Kept | None:
        """What is kept of a group, by layers with such a window; None where it would be too much to keep."""
        key = (window or 0, *(member.table for member in group.members))
        before = self._before.pop(key, None) or self._most_alike(key)
        keys = group.width * len(group.members)
        if keys + sum(kept.group.width * len(kept.group.members) for kept in self._now.values()) > self._most_keys:
            return None
        self._now[key] = Kept(group, before)
        return self._now[key]

    def _most_alike(self, key: tuple[int, ...]) -> Kept | None:
        """A group that is no more, and shares members with this one: its memory is free."""
        window, tables = key[0], set(key[1:])
        shared = {other: len(tables.intersection(other[1:])) for other in self._before if other[0] == window}
        most = max(shared, key=shared.__getitem__, default=None)
        return self._before.pop(most) if most and shared[most] else None

    def forget(self) -> None:
        """Keep nothing."""
        self._now = {}
