"""Blocks are counted: none is lost, none belongs to two who write, and neighbours are given out where there are any."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.engine.memory.blocks import BLOCK_TOKENS, BlockCopy, BlockPool, BlockTable, Extent, OutOfBlocksError


def table_of(pool: BlockPool, tokens: int) -> BlockTable:
    table = BlockTable(pool)
    assert table.reserve(0, tokens) is None
    return table


def test_a_table_that_grows_stays_one_extent() -> None:
    pool = BlockPool(40 * BLOCK_TOKENS, lanes=4)
    tables = [table_of(pool, 20) for _ in range(4)]
    for tokens in range(20, 160):
        for table in tables:
            table.reserve(tokens, tokens + 1)
    assert [table.extents(100) for table in tables] == [[Extent(lane * 160, lane * 160 + 100)] for lane in range(4)]
    pool.check(tables)


def test_a_table_goes_on_elsewhere_where_its_neighbour_is_taken() -> None:
    pool = BlockPool(8 * BLOCK_TOKENS, lanes=4)
    first, _second = table_of(pool, 32), table_of(pool, 32)
    first.reserve(32, 40)
    assert first.extents(40) == [Extent(0, 32), Extent(64, 72)]
    assert first.slots(31, 34) == [31, 64, 65]


def test_a_pool_that_is_too_small_says_so_and_changes_nothing() -> None:
    pool = BlockPool(4 * BLOCK_TOKENS, lanes=1)
    table = table_of(pool, 50)
    with pytest.raises(OutOfBlocksError):
        table.reserve(50, 65)
    assert (len(table.blocks), pool.free_blocks) == (4, 0)
    pool.check([table])


def test_a_shared_block_is_copied_by_whoever_writes_first() -> None:
    pool = BlockPool(10 * BLOCK_TOKENS, lanes=1)
    prompt = table_of(pool, 20)
    fork = prompt.fork(20)
    copy = fork.reserve(20, 21)
    assert copy is not None
    assert copy.source == prompt.blocks[1]
    assert copy.target == fork.blocks[1] != prompt.blocks[1]
    assert fork.blocks[0] == prompt.blocks[0]
    assert prompt.reserve(20, 21) is None  # nobody shares it any more
    pool.check([prompt, fork])


def test_a_block_that_is_written_to_again_is_not_found_as_what_it_was() -> None:
    """A fork has the block for itself once the table it comes from has ended: nothing is copied then."""
    pool = BlockPool(4 * BLOCK_TOKENS, lanes=1)
    before, after = [0] * BLOCK_TOKENS, [0] * (BLOCK_TOKENS // 2) + [1] * (BLOCK_TOKENS // 2)
    table = table_of(pool, BLOCK_TOKENS)
    table.record(before, BLOCK_TOKENS)
    fork = table.fork(BLOCK_TOKENS // 2)
    table.release()
    assert fork.reserve(BLOCK_TOKENS // 2, BLOCK_TOKENS) is None
    fork.record(after, BLOCK_TOKENS)
    assert BlockTable(pool).known_blocks([*before, 0]) == []
    assert BlockTable(pool).known_blocks([*after, 0]) == fork.blocks
    pool.check([fork])


def test_a_lost_block_is_found_out() -> None:
    pool = BlockPool(4 * BLOCK_TOKENS, lanes=1)
    table = table_of(pool, 20)
    with pytest.raises(AssertionError):
        pool.check([])
    pool.check([table])


class Blocks(RuleBasedStateMachine):
    """Tables that begin, grow, fork, are remembered and end in any order, in a pool that is often full.

    What is in a slot stands for keys and values: all tokens of the sequence up to its own.
    """

    neighbours = True

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(12 * BLOCK_TOKENS, lanes=3, neighbours=self.neighbours, move=self._copy)
        self.tables: list[BlockTable] = []
        self.tokens: dict[BlockTable, list[int]] = {}
        self.accounts: dict[BlockTable, str] = {}
        self.memory: dict[int, tuple[str, list[int]]] = {}

    def _any(self, number: int) -> BlockTable:
        return self.tables[number % len(self.tables)]

    def _copy(self, copy: BlockCopy) -> None:
        for token in range(BLOCK_TOKENS):
            held = self.memory.get(copy.source * BLOCK_TOKENS + token)
            if held is not None:
                self.memory[copy.target * BLOCK_TOKENS + token] = held

    @rule(account=st.sampled_from("ab"), blocks=st.integers(0, 4), kind=st.integers(0, 1), room=st.integers(0, 90))
    def begin(self, account: str, blocks: int, kind: int, room: int) -> None:
        """On tokens of which there are two kinds, so that beginnings are often known."""
        table = BlockTable(self.pool, account=account, room_tokens=room)
        token_ids = [kind] * (blocks * BLOCK_TOKENS + 1)
        for copy in table.attach(token_ids):
            self._copy(copy)
        self.tables.append(table)
        self.tokens[table] = token_ids[: len(table.blocks) * BLOCK_TOKENS]
        self.accounts[table] = account

    @precondition(lambda self: self.tables)
    @rule(number=st.integers(0, 99), tokens=st.integers(1, 70), kind=st.integers(0, 1))
    def write(self, number: int, tokens: int, kind: int) -> None:
        table = self._any(number)
        first = len(self.tokens[table])
        before = list(table.blocks), self.pool.free_blocks
        try:
            copy = table.reserve(first, first + tokens)
        except OutOfBlocksError:
            assert (table.blocks, self.pool.free_blocks) == before
            return
        if copy is not None:
            self._copy(copy)
        written = {table.blocks[token // BLOCK_TOKENS] for token in range(first, first + tokens)}
        assert not any(written & set(other.blocks) for other in self.tables if other is not table)
        self.tokens[table] = self.tokens[table] + [kind] * tokens
        for token, slot in enumerate(table.slots(0, first + tokens)):
            if token >= first:
                self.memory[slot] = self.accounts[table], self.tokens[table][: token + 1]

    @precondition(lambda self: self.tables)
    @rule(number=st.integers(0, 99))
    def record(self, number: int) -> None:
        table = self._any(number)
        table.record(self.tokens[table], len(self.tokens[table]))

    @precondition(lambda self: self.tables)
    @rule(number=st.integers(0, 99), share=st.floats(0, 1))
    def fork(self, number: int, share: float) -> None:
        table = self._any(number)
        tokens = int(len(self.tokens[table]) * share)
        self.tables.append(table.fork(tokens))
        self.tokens[self.tables[-1]] = self.tokens[table][:tokens]
        self.accounts[self.tables[-1]] = self.accounts[table]

    @precondition(lambda self: self.tables)
    @rule(number=st.integers(0, 99))
    def end(self, number: int) -> None:
        table = self._any(number)
        self.tables.remove(table)
        table.release()
        table.release()  # once more is no fault

    @precondition(lambda self: self.tables)
    @rule(number=st.integers(0, 99))
    def fail(self, number: int) -> None:
        table = self._any(number)
        others = {block for other in self.tables if other is not table for block in other.blocks}
        for block in self.pool.spoil([table]):
            assert block not in others
            for slot in range(block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS):
                self.memory.pop(slot, None)
        self.tables.remove(table)
        table.release()

    @invariant()
    def every_block_is_counted(self) -> None:
        self.pool.check(self.tables)

    @invariant()
    def every_table_holds_its_own_tokens(self) -> None:
        for table in self.tables:
            token_ids = self.tokens[table]
            for token, slot in enumerate(table.slots(0, len(token_ids))):
                assert self.memory[slot] == (self.accounts[table], token_ids[: token + 1])

    @invariant()
    def extents_are_the_slots_in_order(self) -> None:
        for table in self.tables:
            length = len(self.tokens[table])
            assert len(table.blocks) >= self.pool.blocks_for(length)
            slots = [slot for extent in table.extents(length) for slot in range(extent.start, extent.stop)]
            assert slots == table.slots(0, length)

    def teardown(self) -> None:
        for table in self.tables:
            table.release()
        self.pool.check([])
        assert self.pool.free_blocks == self.pool.blocks


class ScatteredBlocks(Blocks):
    neighbours = False


TestBlocks = Blocks.TestCase
TestScatteredBlocks = ScatteredBlocks.TestCase
TestBlocks.settings = TestScatteredBlocks.settings = settings(
    max_examples=10 * int(os.environ.get("HELEXA_EXAMPLES", "10")), stateful_step_count=50
)


def test_a_move_that_fails_loses_no_block() -> None:
    def refuse(_copy: BlockCopy) -> None:
        raise RuntimeError("the device does not copy")

    pool = BlockPool(8 * BLOCK_TOKENS, lanes=2, move=refuse)
    ids = list(range(4 * BLOCK_TOKENS))
    table = BlockTable(pool)
    table.reserve(0, len(ids))
    table.record(ids, len(ids))
    table.release()
    with pytest.raises(RuntimeError, match="does not copy"):
        pool.take(6, after=None)
    pool.check([])
    assert pool.free_blocks == pool.blocks
