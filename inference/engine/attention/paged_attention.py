"""Attention over pages: what every implementation reads, and the one in plain torch that the others are held against.

The implementations are `GatheredAttention` here, `varlen_attention` and `triton_attention`; `attention_probe` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from inference.engine.memory.blocks import BLOCK_TOKENS


@dataclass(frozen=True)
class Reads:
    """Neighbouring rows of a step, `start` up to `stop`, and what their sequences read; one call for each layer.

    Sequence i has `rows[i]` rows, the last tokens of the `lengths[i]` that it reads. The device has the same as int32:
    `row_starts` (sequences + 1) counts from 0, `key_lengths` (sequences), and `tables` (sequences, pages at most) names
    the pages in the order of the tokens. A recorded graph is replayed with other lengths than `lengths`, never longer.
    """

    start: int
    stop: int
    rows: Sequence[int]
    lengths: Sequence[int]
    row_starts: Tensor
    key_lengths: Tensor
    tables: Tensor

    @property
    def decodes(self) -> bool:
        """Whether every sequence has one row."""
        return len(self.rows) == self.stop - self.start

    @cached_property
    def key_starts(self) -> Tensor:
        """As `row_starts`, of the keys; computed on the device, where a replay finds other lengths."""
        return pad(self.key_lengths.cumsum(0, dtype=torch.int32), (1, 0))


class PagedAttention(Protocol):
    """`page_tokens` is the page that it wants. One that is `recordable` reads no number of the host's that changes."""

    @property
    def name(self) -> str: ...

    @property
    def page_tokens(self) -> int: ...

    @property
    def recordable(self) -> bool: ...

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, reads: Reads, *, scaling: float, window: int | None
    ) -> Tensor:
        """Attention of rows (rows, heads, head_dim) to pages (pages, page_tokens, kv_heads, head_dim).

        Each row sees its own sequence up to itself, of that the last `window` tokens. Returns the shape of `query`.
        """
        ...


class GatheredAttention:
    """Each sequence by itself, its keys gathered from their pages: right on any device, and slow."""

    name = "gathered"
    page_tokens = BLOCK_TOKENS
    recordable = False

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, reads: Reads, *, scaling: float, window: int | None
    ) -> Tensor:
        group = query.shape[1] // keys.shape[2]
        parts = []
        for rows, table, length in zip(torch.split(query, list(reads.rows)), reads.tables, reads.lengths, strict=True):
            own_keys, own_values = (_gathered(pages, table, length, group) for pages in (keys, values))
            parts.append(_attend_one(rows, own_keys, own_values, scaling=scaling, window=window))
        return torch.cat(parts)


def _gathered(pages: Tensor, table: Tensor, length: int, group: int) -> Tensor:
    """(heads, length, head_dim)"""
    used = table[: -(-length // pages.shape[1])]
    return pages[used.long()].flatten(0, 1)[:length].transpose(0, 1).repeat_interleave(group, dim=0)


def _attend_one(query: Tensor, keys: Tensor, values: Tensor, *, scaling: float, window: int | None) -> Tensor:
    length = keys.shape[1]
    tokens = torch.arange(length, device=query.device)
    rows = tokens[length - query.shape[0] :, None]
    seen = tokens <= rows
    if window:
        seen &= tokens > rows - window
    output = scaled_dot_product_attention(query.transpose(0, 1), keys, values, attn_mask=seen, scale=scaling)
    return output.transpose(0, 1)


class DecodeAndChunk:
    """One implementation for the rows that decode, another for chunks of prompts; both read the same pages."""

    def __init__(self, decode: PagedAttention, chunk: PagedAttention) -> None:
        self._decode, self._chunk = decode, chunk
        self.name = f"{decode.name} decodes, {chunk.name} reads prompts"
        self.page_tokens = chunk.page_tokens
        self.recordable = decode.recordable

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, reads: Reads, *, scaling: float, window: int | None
    ) -> Tensor:
        of = self._decode if reads.decodes else self._chunk
        return of.attend(query, keys, values, reads, scaling=scaling, window=window)
