"""Attention over pages in Triton: an online softmax over tiles of keys, split over programs where rows decode.

Sources: FlashAttention 2 (Dao 2023) for the loop, Flash-Decoding (Dao et al. 2023) for the split. Imported only where
Triton is installed. The reference is `GatheredAttention`.
"""

from __future__ import annotations

import triton
import triton.language as tl


# A value that differs from step to step would have the kernel compiled again in the middle of one.
@triton.jit(do_not_specialize=["table"], do_not_specialize_on_alignment=["row_starts", "key_lengths", "tables"])
def attend(
    query: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    output: tl.tensor,
    maxima: tl.tensor,
    sums: tl.tensor,
    row_starts: tl.tensor,
    key_lengths: tl.tensor,
    tables: tl.tensor,
    scale: tl.tensor,
    query_row: tl.tensor,
    query_head: tl.tensor,
    page: tl.tensor,
    slot: tl.tensor,
    slot_head: tl.tensor,
    table: tl.tensor,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_TOKENS: tl.constexpr,
    WINDOW: tl.constexpr,
    SPLITS: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    TILE_KEYS: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """One program: a tile of one sequence's rows with all query heads of one head of the keys, over a part of the keys.

    `output` is (rows, heads, SPLITS, HEAD_DIM), contiguous; with more than one split its numbers are float32 sums to be
    divided later, of which `maxima` and `sums`, (rows, heads, SPLITS), say how. `scale` includes the logarithm of 2.
    """
    sequence = tl.program_id(1)
    head = tl.program_id(2) // SPLITS
    split = tl.program_id(2) % SPLITS
    heads = tl.num_programs(2) // SPLITS * GROUP
    tile_tokens = TILE_ROWS // GROUP  # a tile holds whole groups; what is left of it is padding
    first = tl.program_id(0) * tile_tokens
    start = tl.load(row_starts + sequence)
    rows = tl.load(row_starts + sequence + 1) - start
    if first >= rows:
        return
    length = tl.load(key_lengths + sequence)
    before = length - rows

    place = tl.arange(0, TILE_ROWS)
    row = first + place // GROUP
    query_heads = head * GROUP + place % GROUP
    real = (place < tile_tokens * GROUP) & (row < rows)
    position = before + row
    width = tl.arange(0, TILE_WIDTH)
    row_offsets = (start + row).to(tl.int64)
    q = tl.load(
        query + row_offsets[:, None] * query_row + query_heads[:, None] * query_head + width[None, :],
        mask=real[:, None] & (width < HEAD_DIM)[None, :],
        other=0.0,
    )

    # The keys that any row of the tile sees, in whole tiles, shared out among the splits.
    stop = before + tl.minimum(first + tile_tokens, rows)
    low = 0
    if WINDOW > 0:
        low = tl.maximum(before + first - WINDOW + 1, 0) // TILE_KEYS
    high = tl.cdiv(stop, TILE_KEYS)
    share = tl.cdiv(high - low, SPLITS)
    begin = low + split * share
    end = tl.minimum(begin + share, high)

    maximum = tl.full([TILE_ROWS], float("-inf"), tl.float32)
    total = tl.zeros([TILE_ROWS], tl.float32)
    summed = tl.zeros([TILE_ROWS, TILE_WIDTH], tl.float32)
    for tile in range(begin, end):
        key = tile * TILE_KEYS + tl.arange(0, TILE_KEYS)
        exists = key < stop
        number = tl.load(tables + sequence * table + key // PAGE_TOKENS, mask=exists, other=0).to(tl.int64)
        offset = number * page + (key % PAGE_TOKENS) * slot + head * slot_head
        inside = exists[:, None] & (width < HEAD_DIM)[None, :]
        k = tl.load(keys + offset[:, None] + width[None, :], mask=inside, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        seen = (key[None, :] <= position[:, None]) & real[:, None]
        if WINDOW > 0:
            seen = seen & (key[None, :] > position[:, None] - WINDOW)
        scores = tl.where(seen, scores, float("-inf"))
        highest = tl.maximum(maximum, tl.max(scores, 1))
        # A row that has seen no key yet has no maximum: 0 instead, since minus infinity less itself is nan.
        base = tl.where(highest == float("-inf"), 0.0, highest)
        weights = tl.exp2(scores - base[:, None])
        fade = tl.exp2(maximum - base)
        v = tl.load(values + offset[:, None] + width[None, :], mask=inside, other=0.0)
        summed = summed * fade[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        total = total * fade + tl.sum(weights, 1)
        maximum = highest

    target = (row_offsets * heads + query_heads) * SPLITS + split
    if SPLITS == 1:
        summed = summed / tl.where(total == 0.0, 1.0, total)[:, None]
    else:
        tl.store(maxima + target, maximum, mask=real)
        tl.store(sums + target, total, mask=real)
    tl.store(
        output + target[:, None] * HEAD_DIM + width[None, :],
        summed.to(output.dtype.element_ty),
        mask=real[:, None] & (width < HEAD_DIM)[None, :],
    )


@triton.jit
def merge(
    parts: tl.tensor,
    maxima: tl.tensor,
    sums: tl.tensor,
    output: tl.tensor,
    HEAD_DIM: tl.constexpr,
    SPLITS: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
) -> None:
    """One program: the splits of one head of one row. `SPLITS` is a power of two; shapes as in `attend`."""
    place = tl.program_id(0).to(tl.int64)
    split = tl.arange(0, SPLITS)
    width = tl.arange(0, TILE_WIDTH)
    maximum = tl.load(maxima + place * SPLITS + split)
    total = tl.load(sums + place * SPLITS + split)
    weights = tl.exp2(maximum - tl.max(maximum, 0))
    part = tl.load(
        parts + (place * SPLITS + split)[:, None] * HEAD_DIM + width[None, :],
        mask=(split >= 0)[:, None] & (width < HEAD_DIM)[None, :],
        other=0.0,
    )
    merged = tl.sum(part * weights[:, None], 0) / tl.sum(total * weights, 0)
    tl.store(output + place * HEAD_DIM + width, merged.to(output.dtype.element_ty), mask=width < HEAD_DIM)
