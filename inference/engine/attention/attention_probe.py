"""Which attention over pages works on a device, found out by computing with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PretrainedConfig

from inference.engine.attention.paged_attention import DecodeAndChunk, GatheredAttention, PagedAttention, Reads
from inference.engine.attention.triton_attention import TritonAttention
from inference.engine.attention.varlen_attention import VarlenAttention
from inference.engine.device.owner import is_device_fault
from inference.engine.memory.key_values import head_shape

logger = logging.getLogger(__name__)

#: Two sequences that decode and two that read a chunk, over more than two pages of 256 tokens: a kernel that splits
#: the keys of the second one wrongly, or takes its pages from the table of the first, is found out.
_LENGTHS = {"decode": [600, 530], "chunk": [600, 70]}
_ROWS = {"decode": [1, 1], "chunk": [40, 70]}
_WINDOWS = (None, 100)
#: The largest difference of outputs around 0.1, computed from normally distributed numbers.
_TOLERANCES = {torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2}


class Shape(NamedTuple):
    """What decides whether an implementation works."""

    heads: int
    kv_heads: int
    width: int
    dtype: torch.dtype
    device: torch.device


def attention_for(config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> PagedAttention:
    """The best that gives what the reference gives, for the model's own heads."""
    kv_heads, width = head_shape(config)
    heads = int(config.get_text_config(decoder=True).num_attention_heads)
    return chosen(Shape(heads, kv_heads, width, dtype, device))


@lru_cache
def chosen(shape: Shape) -> PagedAttention:
    """Triton for decodes, whose keys varlen of torch 2.13 cannot split, varlen for chunks; or the one that works."""
    programs = 1
    if shape.device.type == "cuda":
        programs = 2 * torch.cuda.get_device_properties(shape.device).multi_processor_count
    varlen = passing(VarlenAttention, shape)
    page_tokens = (varlen or GatheredAttention()).page_tokens
    triton = passing(partial(TritonAttention, programs=programs, page_tokens=page_tokens), shape)
    best = DecodeAndChunk(triton, varlen) if triton and varlen else triton or varlen or GatheredAttention()
    logger.info("attention of %s: %s", shape, best.name)
    return best


def passing(make: Callable[[], PagedAttention], shape: Shape) -> PagedAttention | None:
    """What `make` makes, if it computes what the reference does; else what speaks against it is logged."""
    try:
        attention = make()
        worst = max(difference(attention, shape, kind, window) for kind in _LENGTHS for window in _WINDOWS)
    except Exception as fault:
        if is_device_fault(fault):
            raise
        logger.info("%r is not used for %s: %s", make, shape, fault)
        return None
    if not worst <= _TOLERANCES[shape.dtype]:
        logger.warning("%s is not used for %s: it is wrong by %g", attention.name, shape, worst)
        return None
    return attention


def difference(attention: PagedAttention, shape: Shape, kind: str, window: int | None) -> float:
    """The largest difference from the reference, computed on the CPU in float32 from the same numbers."""
    rows, lengths = _ROWS[kind], _LENGTHS[kind]
    used = [-(-length // attention.page_tokens) for length in lengths]
    dice = torch.Generator().manual_seed(0)
    order = torch.randperm(sum(used), generator=dice).to(torch.int32)
    tables = torch.nn.utils.rnn.pad_sequence(list(torch.split(order, used)), batch_first=True)

    def numbers(*sides: int) -> Tensor:
        return torch.randn(sides, generator=dice).to(shape.dtype)

    query = numbers(sum(rows), shape.heads, shape.width)
    keys, values = (numbers(sum(used), attention.page_tokens, shape.kv_heads, shape.width) for _ in range(2))
    starts = torch.tensor([0, rows[0], sum(rows)], dtype=torch.int32)
    key_lengths = torch.tensor(lengths, dtype=torch.int32)

    def computed(by: PagedAttention, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        on_device = [tensor.to(query.device) for tensor in (starts, key_lengths, tables)]
        reads = Reads(0, sum(rows), rows, lengths, *on_device)
        return by.attend(query, keys, values, reads, scaling=shape.width**-0.5, window=window).float().cpu()

    expected = computed(GatheredAttention(), query.float(), keys.float(), values.float())
    found = computed(attention, query.to(shape.device), keys.to(shape.device), values.to(shape.device))
    return float((found - expected).abs().max())
