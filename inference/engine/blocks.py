"""Which parts of a model's KV memory belong to which sequence: blocks of tokens, counted by reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

#: Tokens in a block, the unit in which memory is given out and shared, where attention does not want another size.
BLOCK_TOKENS = 16


class OutOfBlocksError(Exception):
    """The pool has fewer free blocks than are needed. Nothing was taken."""


class Extent(NamedTuple):
    """Neighbouring token slots of the pool, `start` up to but not including `stop`."""

    start: int
    stop: int


class BlockCopy(NamedTuple):
    """A block whose content has to be copied before the table that asked writes to its own."""

    source: int
    target: int


class BlockPool:
    """Gives out the blocks of one model on one device; the owner thread's alone.

    A table's blocks are neighbours where that can be, so that attention reads them as one slice. To leave room for
    growth, tables begin at the starts of `lanes` equal parts of the pool as long as one of them is wholly free.
    """

    def __init__(self, tokens: int, *, lanes: int, block_tokens: int = BLOCK_TOKENS) -> None:
        self.block_tokens = block_tokens
        self.blocks = max(1, tokens // block_tokens)
        self._references = [0] * self.blocks
        self._free = self.blocks
        self._lane_blocks = max(1, self.blocks // lanes)

    @property
    def tokens(self) -> int:
        """What one sequence can hold when it has the pool for itself."""
        return self.blocks * self.block_tokens

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens of one sequence."""
        return -(-tokens // self.block_tokens)

    @property
    def free_blocks(self) -> int:
        return self._free

    def take(self, count: int, *, after: int | None) -> list[int]:
        """Take `count` blocks, in the order to be filled; behind the block `after` where those are free.

        Raises OutOfBlocksError and takes none if there are not so many.
        """
        if count > self._free:
            raise OutOfBlocksError(f"{count} blocks are needed and {self._free} of {self.blocks} are free")
        taken: list[int] = []
        at = self._first_block(count) if after is None else after + 1
        while len(taken) < count:
            if at >= self.blocks or self._references[at]:
                at = self._longest_free_run().start
            self._references[at] = 1
            taken.append(at)
            at += 1
        self._free -= count
        return taken

    def share(self, blocks: Iterable[int]) -> None:
        """Count one more owner of each block."""
        for block in blocks:
            self._references[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        """Count one owner of each block less; a block without one is free."""
        for block in blocks:
            self._references[block] -= 1
            self._free += not self._references[block]

    def is_shared(self, block: int) -> bool:
        return self._references[block] > 1

    def check(self, tables: Iterable[BlockTable]) -> None:
        """Prove that `tables` are all there is: raises AssertionError for a block that is lost or counted twice."""
        owned = Counter(block for table in tables for block in table.blocks)
        counted = {block: owners for block, owners in enumerate(self._references) if owners}
        assert counted == dict(owned), f"blocks counted {counted}, owned {dict(owned)}"
        assert self._free == self.blocks - len(counted), f"{self._free} blocks are said to be free"

    def _first_block(self, count: int) -> int:
        """The start of the first lane that is wholly free and long enough, else of the longest free run."""
        if count <= self._lane_blocks:
            for start in range(0, self.blocks - self._lane_blocks + 1, self._lane_blocks):
                if not any(self._references[start : start + self._lane_blocks]):
                    return start
        return self._longest_free_run().start

    def _longest_free_run(self) -> Extent:
        """In blocks. Looks at the whole pool, which happens once per sequence and once per extent of it."""
        longest, start = Extent(0, 0), 0
        for block, references in enumerate([*self._references, 1]):
            if references:
                if block - start > longest.stop - longest.start:
                    longest = Extent(start, block)
                start = block + 1
        return longest


class BlockTable:
    """The blocks of one sequence, in the order of its tokens."""

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self.blocks: list[int] = []

    def reserve(self, first: int, stop: int) -> BlockCopy | None:
        """Make the slots of tokens `first` up to `stop` writable; what comes before `first` is written already.

        Returns the copy to be made first where the block of `first` was shared: a sequence never writes to a block
        that another one reads. Raises OutOfBlocksError and changes nothing if the pool has too few.
        """
        assert first <= len(self.blocks) * self._pool.block_tokens, "tokens are written in their order"
        missing = max(0, self._pool.blocks_for(stop) - len(self.blocks))
        at = first // self._pool.block_tokens
        shared = at < len(self.blocks) and self._pool.is_shared(self.blocks[at])
        if missing + shared > self._pool.free_blocks:
            raise OutOfBlocksError(f"{missing + shared} blocks are needed and {self._pool.free_blocks} are free")
        copy = self._own(at) if shared else None
        if missing:
            self.blocks += self._pool.take(missing, after=self.blocks[-1] if self.blocks else None)
        return copy

    def _own(self, at: int) -> BlockCopy:
        source = self.blocks[at]
        [target] = self._pool.take(1, after=None)
        self._pool.release([source])
        self.blocks[at] = target
        return BlockCopy(source, target)

    def fork(self, tokens: int) -> BlockTable:
        """A table that begins with the same `tokens` tokens and shares their blocks."""
        fork = BlockTable(self._pool)
        fork.blocks = self.blocks[: self._pool.blocks_for(tokens)]
        self._pool.share(fork.blocks)
        return fork

    def slots(self, first: int, stop: int) -> list[int]:
        """Where the keys and values of tokens `first` up to `stop` are."""
        size = self._pool.block_tokens
        return [self.blocks[token // size] * size + token % size for token in range(first, stop)]

    def extents(self, stop: int | None = None) -> list[Extent]:
        """The slots of the tokens before `stop`, or all, neighbours as one."""
        size = self._pool.block_tokens
        tokens = len(self.blocks) * size if stop is None else stop
        extents: list[Extent] = []
        for index in range(self._pool.blocks_for(tokens)):
            start = self.blocks[index] * size
            end = start + min(size, tokens - index * size)
            if extents and extents[-1].stop == start:
                extents[-1] = Extent(extents[-1].start, end)
            else:
                extents.append(Extent(start, end))
        return extents

    def release(self) -> None:
        """Give every block back. A table that has none is released already."""
        blocks, self.blocks = self.blocks, []
        self._pool.release(blocks)
