"""Which parts of a model's KV memory belong to which sequence: blocks of tokens, counted by reference.

A block without an owner is free. If it is full its content stays findable until the block is taken anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

from inference.engine.memory.free_blocks import FreeBlocks
from inference.engine.memory.prefix_cache import Prefix, PrefixCache, Salt

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

    With `neighbours` a table's blocks are neighbours where that can be, so that attention reads them as one slice. To
    leave room for growth, and at equal distances, tables begin at the starts of `lanes` equal parts of the pool. What
    can be found there is moved out of the way: `move` copies a block, before anybody writes to it.
    """

    def __init__(
        self,
        tokens: int,
        *,
        lanes: int,
        neighbours: bool = True,
        block_tokens: int = BLOCK_TOKENS,
        move: Callable[[BlockCopy], None] = lambda _copy: None,
    ) -> None:
        self.block_tokens = block_tokens
        self.blocks = max(1, tokens // block_tokens)
        self.neighbours = neighbours
        self.prefixes = PrefixCache()
        self._move = move
        self._references = [0] * self.blocks
        self._free = FreeBlocks(self.blocks, lanes=lanes)

    @property
    def tokens(self) -> int:
        """What one sequence can hold when it has the pool for itself."""
        return self.blocks * self.block_tokens

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens of one sequence."""
        return -(-tokens // self.block_tokens)

    @property
    def free_blocks(self) -> int:
        """Blocks without an owner, those whose content can still be found among them."""
        return len(self._free)

    def take(self, count: int, *, after: int | None, room: int = 0) -> list[int]:
        """Take `count` blocks, in the order to be filled; behind the block `after` where those are free.

        `room` is how many blocks a table that begins here may come to. What could be found in a block is forgotten.
        Raises OutOfBlocksError and takes none if there are not so many.
        """
        if count > self.free_blocks:
            raise OutOfBlocksError(f"{count} blocks are needed and {self.free_blocks} of {self.blocks} are free")
        if not self.neighbours:
            return [self._take(block) for block in self._free.oldest(count)]
        taken: list[int] = []
        try:
            for block in self._neighbours(count, after, room, taken):
                taken.append(self._take(block))
        except Exception:
            self.release(taken)
            raise
        return taken

    def _neighbours(self, count: int, after: int | None, room: int, taken: list[int]) -> Iterator[int]:
        start = self._free.beginning(count, room) if after is None else after + 1
        if start is not None:
            yield from self._free.run_from(start, count)
        while len(taken) < count:
            yield from self._free.longest_run(count - len(taken))

    def share(self, blocks: Iterable[int]) -> None:
        """Count one more owner of each block."""
        for block in blocks:
            if not self._references[block]:
                self._free.remove(block)
            self._references[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        """Count one owner of each block less; a block without one is free."""
        for block in blocks:
            self._references[block] -= 1
            if not self._references[block]:
                self._free.add(block, kept=block in self.prefixes)

    def is_shared(self, block: int) -> bool:
        return self._references[block] > 1

    def owned(self, blocks: Iterable[int]) -> int:
        """How many of these blocks have an owner."""
        return sum(self._references[block] > 0 for block in blocks)

    def may_grow(self, blocks: Sequence[int]) -> bool:
        """Whether these blocks are neighbours from the start of a lane on, and the next one is free."""
        together = list(blocks) == list(range(blocks[0], blocks[0] + len(blocks)))
        return together and self._free.is_beginning(blocks[0]) and blocks[-1] + 1 in self._free

    def has_beginning(self, count: int, room: int) -> bool:
        """Whether a table of so many blocks could begin where it stays together."""
        return self._free.beginning(count, room) is not None

    def spoil(self, tables: Sequence[BlockTable]) -> list[int]:
        """Forget what all the tables hold, since it may be wrong. Returns the blocks that nobody else owns."""
        owned = Counter(block for table in tables for block in table.blocks)
        for block in owned:
            self.forget(block)
        return [block for block, owners in owned.items() if owners == self._references[block]]

    def check(self, tables: Iterable[BlockTable]) -> None:
        """Prove that `tables` are all there is: raises AssertionError for a block that is lost or counted twice."""
        owned = Counter(block for table in tables for block in table.blocks)
        counted = {block: owners for block, owners in enumerate(self._references) if owners}
        assert counted == dict(owned), f"blocks counted {counted}, owned {dict(owned)}"
        self.prefixes.check()
        self._free.check(kept={block for block in range(self.blocks) if block in self.prefixes}, taken=set(counted))

    def _take(self, block: int) -> int:
        if self.neighbours and block in self.prefixes:
            self._put_aside(block)
        self.forget(block)
        self._free.remove(block)
        self._references[block] = 1
        return block

    def _put_aside(self, block: int) -> None:
        """Keep what can be found in a free block, at the cost of what was freed first where no block is empty."""
        target = self._free.aside()
        if target == block:
            return
        self.forget(target)
        if block not in self.prefixes:  # it was behind that
            return
        self._move(BlockCopy(block, target))
        self.prefixes.move(block, target)
        self._free.add(block, kept=False)
        self._free.add(target, kept=True)

    def forget(self, block: int) -> None:
        """Nobody finds this block any more, nor what is behind it."""
        for forgotten in self.prefixes.forget(block):
            if not self._references[forgotten]:
                self._free.add(forgotten, kept=False)


class BlockTable:
    """The blocks of one sequence, in the order of its tokens.

    `room_tokens` is what it may come to. Its full blocks can be found by tables of the same account. No other table of
    the process has its `number`.
    """

    _numbers = count()

    def __init__(
        self, pool: BlockPool, *, account: str | None = None, extended: bool = False, room_tokens: int = 0
    ) -> None:
        self.blocks: list[int] = []
        self.number = next(self._numbers)
        self._pool = pool
        self._salt = Salt(account, extended)
        self._room_tokens = room_tokens
        self._prefixes: list[Prefix] = []  # of its first blocks

    def known_blocks(self, token_ids: Sequence[int]) -> list[int]:
        """Blocks that hold a beginning of these tokens already."""
        return [prefix.block for prefix in self._known(token_ids)]

    def attach(self, token_ids: Sequence[int]) -> list[BlockCopy]:
        """Begin with what is known of these tokens; the table has no blocks yet. Returns copies to make, as `gather`.

        There are none where it can grow behind the blocks that were found.
        """
        self._prefixes = self._known(token_ids)
        self.blocks = [prefix.block for prefix in self._prefixes]
        self._pool.share(self.blocks)
        return [] if not self.blocks or self._pool.may_grow(self.blocks) else self.gather()

    def gather(self) -> list[BlockCopy]:
        """Exchange shared blocks for neighbours with room behind them, where neighbours are wanted and there are such.

        Copies are made once, and what is not together is put together in every step. Returns the copies to make now.
        """
        count, room = len(self.blocks), self._pool.blocks_for(self._room_tokens)
        if not self._pool.neighbours or not self._pool.has_beginning(count + 1, room):
            return []
        shared, self.blocks = self.blocks, self._pool.take(count, after=None, room=room)
        self._pool.release(reversed(shared))
        return [BlockCopy(source, target) for source, target in zip(shared, self.blocks, strict=True)]

    def record(self, token_ids: Sequence[int], read_tokens: int) -> None:
        """Make the full blocks findable; `read_tokens` of the tokens are written and right."""
        size = self._pool.block_tokens
        for at in range(len(self._prefixes), read_tokens // size):
            content = token_ids[at * size : (at + 1) * size]
            before = self._prefixes[-1].number if self._prefixes else self._salt
            prefix = self._pool.prefixes.keep(self.blocks[at], before, content)
            if prefix is None:
                return
            self._prefixes.append(prefix)

    def _known(self, token_ids: Sequence[int]) -> list[Prefix]:
        """The last token is left out: its logits are needed."""
        return self._pool.prefixes.find(self._salt, token_ids[:-1], block_tokens=self._pool.block_tokens)

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
        if not shared and at < len(self.blocks):
            self._pool.forget(self.blocks[at])  # it may be found as what it holds now
        del self._prefixes[at:]
        if missing:
            after = self.blocks[-1] if self.blocks else None
            self.blocks += self._pool.take(missing, after=after, room=self._pool.blocks_for(self._room_tokens))
        return copy

    def _own(self, at: int) -> BlockCopy:
        source = self.blocks[at]
        [target] = self._pool.take(1, after=None, room=self._pool.blocks_for(self._room_tokens))
        self._pool.release([source])
        self.blocks[at] = target
        return BlockCopy(source, target)

    def fork(self, tokens: int) -> BlockTable:
        """A table that begins with the same `tokens` tokens and shares their blocks."""
        fork = BlockTable(self._pool, room_tokens=self._room_tokens)
        fork._salt = self._salt
        fork.blocks = self.blocks[: self._pool.blocks_for(tokens)]
        fork._prefixes = self._prefixes[: tokens // self._pool.block_tokens]
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
        """Give every block back, the last first to be reused. A table that has none is released already."""
        blocks, self.blocks, self._prefixes = self.blocks, [], []
        self._pool.release(reversed(blocks))
