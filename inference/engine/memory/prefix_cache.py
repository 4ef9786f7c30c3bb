"""Which blocks hold which beginnings of prompts, so that a beginning that was read once is not read again."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple


class Salt(NamedTuple):
    """What beginnings have in common that may meet: the account, and how their positions are computed."""

    account: str | None = None
    extended: bool = False


#: What comes before a block: the number of the prefix that ends there, or whose prompts begin with it.
Before = int | Salt


class Prefix(NamedTuple):
    """A full block that can be found by its tokens and by all that came before them. No two have the same `number`."""

    number: int
    block: int
    before: Before
    content: bytes


class PrefixCache:
    """The prefixes of one model, a tree of full blocks below each account; the owner thread's alone.

    A chain of hashes is what it comes to: a block is looked up by (number of the prefix before, its tokens). The
    dictionary compares both in full, so that no collision passes for a hit, and bytes are hashed with a secret of the
    process, so that nobody can make tokens collide. Accounts never meet: their first blocks differ in what is before.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._by_content: dict[tuple[Before, bytes], Prefix] = {}
        self._by_block: dict[int, Prefix] = {}
        self._behind: defaultdict[int, set[int]] = defaultdict(set)  # blocks, by the number of the prefix before

    def __contains__(self, block: int) -> bool:
        return block in self._by_block

    def find(self, salt: Salt, token_ids: Sequence[int], *, block_tokens: int) -> list[Prefix]:
        """The longest beginning of the tokens that is known of the account, in whole blocks."""
        found: list[Prefix] = []
        before: Before = salt
        for start in range(0, len(token_ids) - block_tokens + 1, block_tokens):
            prefix = self._by_content.get((before, content_of(token_ids[start : start + block_tokens])))
            if prefix is None:
                break
            found.append(prefix)
            before = prefix.number
        return found

    def keep(self, block: int, before: Before, token_ids: Sequence[int]) -> Prefix | None:
        """Make a full block findable. Returns the prefix of these tokens, whichever block holds it.

        None if what comes before was forgotten: nothing behind it can be found.
        """
        if isinstance(before, int) and before not in self._behind:
            return None
        content = content_of(token_ids)
        known = self._by_content.get((before, content))
        if known is not None:
            return known
        prefix = Prefix(next(self._numbers), block, before, content)
        self._by_content[before, content] = self._by_block[block] = prefix
        self._behind[prefix.number] = set()
        if isinstance(before, int):
            self._behind[before].add(block)
        return prefix

    def move(self, source: int, target: int) -> None:
        """What is in a block is in another one from now on, which holds nothing."""
        prefix = self._by_block.pop(source)._replace(block=target)
        self._by_block[target] = self._by_content[prefix.before, prefix.content] = prefix
        if isinstance(prefix.before, int):
            self._behind[prefix.before].remove(source)
            self._behind[prefix.before].add(target)

    def forget(self, block: int) -> list[int]:
        """Make a block unfindable, and all behind it. Returns them, with the block itself; none if it was not known."""
        gone: list[int] = []
        blocks = [block]
        while blocks:
            prefix = self._by_block.pop(blocks.pop(), None)
            if prefix is not None:
                gone.append(prefix.block)
                blocks += self._behind.pop(prefix.number)
                del self._by_content[prefix.before, prefix.content]
                if isinstance(prefix.before, int) and prefix.before in self._behind:
                    self._behind[prefix.before].discard(prefix.block)
        return gone

    def check(self) -> None:
        """Prove that every prefix can be found, and what comes before it: raises AssertionError."""
        assert {prefix.block: prefix for prefix in self._by_content.values()} == self._by_block, "prefixes are lost"
        numbers = {prefix.number: prefix for prefix in self._by_block.values()}
        assert set(self._behind) == set(numbers), "numbers are left of prefixes that are gone"
        behind = {(prefix.before, block) for block, prefix in self._by_block.items() if isinstance(prefix.before, int)}
        assert behind == {(number, block) for number, blocks in self._behind.items() for block in blocks}


def content_of(token_ids: Sequence[int]) -> bytes:
    return array("I", token_ids).tobytes()
