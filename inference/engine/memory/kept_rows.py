"""Copies of the keys and values that decodes read, kept from step to step.

Attention of single rows multiplies copies (`attention.py`), and of a copy one key of each sequence is new in a step.
Where what is kept is not exactly what the next step needs it is copied anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


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
    """The copies of one group: of each layer its keys and values, (2 * kv_heads, sequences, width, head_dim)."""

    def __init__(self, group: Group, before: Kept | None = None) -> None:
        self.group = group
        self._layers: dict[int, Tensor] = before._layers if before else {}
        ends = [at * group.width + member.tokens - 1 for at, member in enumerate(group.members)]
        self._ends = torch.tensor(ends)

    def read(self, layer: int, new: Tensor, copy: Callable[[], Tensor]) -> Tensor:
        """The group's keys and values with those that the step adds, (2 * kv_heads, sequences, head_dim).

        `copy` makes a copy where none is kept.
        """
        kept = self._layers.get(layer)
        if kept is None:
            kept = self._layers[layer] = copy()
        else:
            kept.view(new.shape[0], -1, new.shape[2]).index_copy_(1, self._ends, new)
        return kept


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
        before = self._before.pop(key, None)
        keys = group.width * len(group.members)
        if keys + sum(kept.group.width * len(kept.group.members) for kept in self._now.values()) > self._most_keys:
            return None
        self._now[key] = Kept(group, before if before and group.follows(before.group) else None)
        return self._now[key]

    def forget(self) -> None:
        """Keep nothing."""
        self._now = {}
