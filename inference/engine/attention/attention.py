"""The attention function that transformers' networks call: it writes and reads the paged keys and values.

Source: transformers' AttentionInterface. A name that has no mask function of its own gets no mask, so none is built
over everybody's tokens.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from inference.engine.attention.paged_step import PagedStep
from inference.engine.attention.step import Chunk, Rows, Step
from inference.engine.memory.blocks import Extent

#: What networks that use it are loaded with, as `attn_implementation`.
NAME = "helexa_paged"


class UnsupportedAttentionError(Exception):
    """A network's attention needs what this one does not do."""


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    step: Step | PagedStep,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_transformers: Any,
) -> tuple[Tensor, None]:
    """Attention of a step's tokens, (1, heads, tokens, head_dim), to those of their own sequences.

    Returns (1, tokens, heads, head_dim). Raises UnsupportedAttentionError for score capping and attention sinks.
    """
    if softcap is not None or s_aux is not None:
        raise UnsupportedAttentionError("it caps its attention scores" if softcap else "it has attention sinks")
    layer, both = cast(int, module.layer_idx), torch.cat((key[0], value[0]))
    return attended(layer, query[0], both, scaling=scaling, step=step, window=sliding_window)[None], None


def attended(
    layer: int, query: Tensor, both: Tensor, *, scaling: float, step: Step | PagedStep, window: int | None
) -> Tensor:
    """The same for queries (heads, tokens, head_dim) and keys with the values behind (2 * kv_heads, tokens, head_dim).

    Returns (tokens, heads, head_dim).
    """
    step.layers_seen.add(layer)
    if isinstance(step, PagedStep):
        return step.attend(layer, query, *both.chunk(2), scaling=scaling, window=window)
    pool = step.key_values.write(layer, step.slots, both)
    heads, tokens, width = query.shape
    kv_heads = pool.shape[0] // 2
    # (kv_heads, group, tokens, head_dim): the queries that share a head of the keys stand together.
    grouped = query.view(kv_heads, heads // kv_heads, tokens, width)
    parts = [
        _attend_rows(grouped, _read_rows(read, layer, pool, both), read, scaling)
        if isinstance(read, Rows)
        else _attend_chunk(grouped, pool, read, scaling)
        for read in step.reads(window)
    ]
    output = parts[0] if len(parts) == 1 else torch.cat(parts)
    step.note(layer, output)
    return output.view(tokens, heads, width)


def _attend_rows(query: Tensor, both: Tensor, read: Rows, scaling: float) -> Tensor:
    """Rows of one token each: the queries of a group are rows of one matrix.

    Two multiplications over copied keys are faster than torch's kernel, which is made for more rows: 16 sequences of
    256 keys took 25 ms a step on one thread against 31, four of 4,096 37 against 55 (12 layers, 4 heads of 64). Scores
    are rounded to the network's dtype, as in transformers' eager attention. One sequence is computed like many, so
    that a neighbour does not change how a row is rounded. torch's multiplication with a sum would first copy the mask
    to the scores' shape: 184 us against 147 for both (16 sequences of 320).
    """
    rows = query[:, :, read.start : read.stop].transpose(1, 2)
    heads, count, group, width = rows.shape
    each = heads * count
    keys, values = both.view(2, each, read.width, width).unbind()
    scores = rows.reshape(each, group, width).bmm(keys.transpose(1, 2))
    if read.mask is None:
        scores.mul_(scaling)
    else:
        torch.add(read.mask, scores, alpha=scaling, out=scores)
    output = scores.softmax(dim=-1).bmm(values).view(heads, count, -1)
    return output.transpose(0, 1).reshape(count, -1)


def _read_rows(read: Rows, layer: int, pool: Tensor, new: Tensor) -> Tensor:
    """What the rows read, (2 * kv_heads, sequences, width, head_dim), with the `new` keys and values of the step."""
    if read.kept is None:
        return _lay_out(pool, read, pool.new_empty(pool.shape[0], read.stop - read.start, read.width, pool.shape[2]))
    return read.kept.read(layer, new[:, read.start : read.stop], lambda onto: _lay_out(pool, read, onto))


def _lay_out(pool: Tensor, read: Rows, onto: Tensor) -> Tensor:
    """Copy keys and values to `onto`, (2 * kv_heads, sequences, width, head_dim), which is returned."""
    if isinstance(read.keys, Tensor):
        torch.index_select(pool, 1, read.keys, out=onto.flatten(1, 2))
        return onto
    head, slot, one = pool.stride()
    views = [
        pool.as_strided(
            (pool.shape[0], run.sequences, read.width - read.padding, pool.shape[2]),
            (head, run.distance * slot, slot, one),
            pool.storage_offset() + run.first * slot,
        )
        for run in read.keys
    ]
    if read.padding:
        return torch.cat((views[0], views[0][:, :, :1].expand(-1, -1, read.padding, -1)), dim=2, out=onto)
    return torch.cat(views, dim=1, out=onto)


def _attend_chunk(query: Tensor, pool: Tensor, read: Chunk, scaling: float) -> Tensor:
    """Neighbouring tokens of one sequence. The keys' heads are repeated by a view, not by a copy."""
    rows = query[:, :, read.start : read.stop]
    kv_heads, group, count, _ = rows.shape
    both = _picked(pool, read.keys)[:, None].expand(-1, group, -1, -1)
    output = scaled_dot_product_attention(
        rows,
        both[:kv_heads],
        both[kv_heads:],
        attn_mask=read.mask,
        is_causal=read.causal,
        scale=scaling,
    )
    return output.permute(2, 0, 1, 3).reshape(count, -1)


def _picked(pool: Tensor, keys: Extent | Tensor) -> Tensor:
    return pool[:, keys.start : keys.stop] if isinstance(keys, Extent) else pool.index_select(1, keys)


AttentionInterface.register(NAME, attend)
