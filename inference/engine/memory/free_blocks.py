"""Which blocks of a pool are free, and which of them had best be taken next."""

from __future__ import annotations

import re
from collections import OrderedDict
from itertools import islice

#: Free with nothing worth finding; free, and its content can be found; not free.
_EMPTY, _KEPT, _TAKEN = range(3)
_EMPTY_RUN = re.compile(rb"\x00+")


class FreeBlocks:
    """Empty blocks go before those whose content is kept, and of those the ones that were freed first.

    Where neighbours are wanted, what is begun begins at the start of a lane, one of `lanes` equal parts of the pool.
    """

    def __init__(self, blocks: int, *, lanes: int) -> None:
        self.blocks = blocks
        self._lane_blocks = max(1, blocks // lanes)
        self._states = bytearray(blocks)
        self._order = OrderedDict.fromkeys(range(blocks))

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, block: int) -> bool:
        return block < self.blocks and self._states[block] != _TAKEN

    def add(self, block: int, *, kept: bool) -> None:
        """A block is free now, or what is known of a free one has changed."""
        self._states[block] = _KEPT if kept else _EMPTY
        self._order[block] = None
        self._order.move_to_end(block, last=kept)

    def remove(self, block: int) -> None:
        self._states[block] = _TAKEN
        del self._order[block]

    def oldest(self, most: int) -> list[int]:
        """Those to be taken first, wherever they are."""
        return list(islice(self._order, most))

    def beginning(self, needed: int, room: int) -> int | None:
        """The start of a lane that is free, for `needed` blocks and best `room`; None where no lane is or holds them.

        The one with the least to be moved away.
        """
        size = self._lane_blocks
        lanes = range(0, self.blocks - size + 1, size) if needed <= size else []
        free = [start for start in lanes if self._states.find(_TAKEN, start, start + size) < 0]
        return min(free, key=lambda start: self._states.count(_KEPT, start, start + max(needed, room)), default=None)

    def is_beginning(self, block: int) -> bool:
        return block % self._lane_blocks == 0

    def aside(self) -> int:
        """Where content is kept best: the empty block that is deepest in its lane, else what was freed first."""
        for depth in reversed(range(self._lane_blocks)):
            lane = self._states[depth :: self._lane_blocks].find(_EMPTY)
            if lane >= 0:
                return lane * self._lane_blocks + depth
        return self.oldest(1)[0]

    def run_from(self, start: int, most: int) -> range:
        """The free blocks from `start` on, `most` of them or fewer; none where `start` itself is not free."""
        stop = start
        while stop < min(self.blocks, start + most) and self._states[stop] != _TAKEN:
            stop += 1
        return range(start, stop)

    def longest_run(self, most: int) -> range:
        """The most neighbours, up to `most`, among the empty blocks and as many of the oldest others as it takes."""
        states = bytearray(self._states)
        for block in self.oldest(most):
            states[block] = _EMPTY
        longest = max(_EMPTY_RUN.finditer(states), key=lambda run: run.end() - run.start())
        return range(longest.start(), min(longest.end(), longest.start() + most))

    def check(self, kept: set[int], taken: set[int]) -> None:
        """Prove that each block is where it belongs: raises AssertionError."""
        expected = [_TAKEN if block in taken else _KEPT if block in kept else _EMPTY for block in range(self.blocks)]
        assert list(self._states) == expected, "blocks are not in the state that they should be in"
        assert set(self._order) == set(range(self.blocks)) - taken, "free blocks are lost"
        states = [self._states[block] for block in self._order]
        assert states == sorted(states), "blocks that can be found are taken before empty ones"
