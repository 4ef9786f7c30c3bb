"""Attention over pages by our own Triton kernels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inference.engine.attention.paged_attention import Reads
from inference.engine.memory.blocks import BLOCK_TOKENS

#: Sides of a tile (of rows: tokens times the heads of a group). A matrix unit takes no fewer than the least.
_LEAST_SIDE, _MOST_SIDE = 16, 64
#: The tile of queries, and of keys and values those of two turns of the loop, are in flight at once: in less than the
#: 99 KiB that a program has on the smallest of the GPUs.
_QUERY_BYTES, _KEY_BYTES = 32 * 1024, 16 * 1024
_MOST_SPLITS = 32


class TritonAttention:
    """Any page, any head up to 256 wide, float32 as well. Decodes of few sequences split their keys over the device."""

    name = "triton"
    recordable = True

    def __init__(self, *, programs: int, page_tokens: int = BLOCK_TOKENS) -> None:
        """`programs` are what the device runs at the same time. Raises ImportError where Triton is not installed."""
        from inference.engine.attention import triton_kernels

        self.page_tokens = page_tokens
        self._kernels = triton_kernels
        self._programs = programs

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, reads: Reads, *, scaling: float, window: int | None
    ) -> Tensor:
        rows, heads, width = query.shape
        kv_heads = keys.shape[2]
        group = heads // kv_heads
        tile_width = max(_LEAST_SIDE, power_of_two(width))
        row_bytes = tile_width * keys.element_size()
        tile_rows = max(_LEAST_SIDE if reads.decodes else _side(_QUERY_BYTES // row_bytes), power_of_two(group))
        tile_keys = _side(_KEY_BYTES // row_bytes)
        splits = self._splits(reads, kv_heads, tile_keys) if reads.decodes else 1
        output = torch.empty((rows, heads, width), dtype=query.dtype, device=query.device)
        sums = parts = maxima = output
        if splits > 1:
            parts = output.new_empty((rows, heads, splits, width), dtype=torch.float32)
            maxima, sums = parts.new_empty((2, rows, heads, splits))
        grid = (-(-max(reads.rows) // (tile_rows // group)), len(reads.rows), kv_heads * splits)
        self._kernels.attend[grid](
            query,
            keys,
            values,
            parts,
            maxima,
            sums,
            reads.row_starts,
            reads.key_lengths,
            reads.tables,
            scaling * math.log2(math.e),
            *query.stride()[:2],
            *keys.stride()[:3],
            reads.tables.stride(0),
            GROUP=group,
            HEAD_DIM=width,
            PAGE_TOKENS=keys.shape[1],
            WINDOW=window or 0,
            SPLITS=splits,
            TILE_ROWS=tile_rows,
            TILE_KEYS=tile_keys,
            TILE_WIDTH=tile_width,
            PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
            num_warps=4 if tile_width <= 128 else 8,
            num_stages=2,
        )
        if splits > 1:
            self._kernels.merge[(rows * heads,)](
                parts, maxima, sums, output, HEAD_DIM=width, SPLITS=splits, TILE_WIDTH=tile_width
            )
        return output

    def _splits(self, reads: Reads, kv_heads: int, tile_keys: int) -> int:
        """Parts of the keys, a power of two: as many programs as the device runs, none without a tile of keys."""
        idle = self._programs // (len(reads.rows) * kv_heads)
        tiles = -(-max(reads.lengths) // tile_keys)
        return min(_MOST_SPLITS, power_of_two(max(1, idle)), power_of_two(tiles))


def _side(rows: int) -> int:
    return max(_LEAST_SIDE, min(_MOST_SIDE, rows))


def power_of_two(number: int) -> int:
    """The least power of two that is not below it."""
    return 1 << (number - 1).bit_length()
