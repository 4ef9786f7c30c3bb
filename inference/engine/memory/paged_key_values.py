"""Keys and values as pages, the layout that attention over block tables reads."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig

from inference.engine.memory.blocks import BlockCopy, BlockPool, Extent
from inference.engine.memory.key_values import head_shape, layers


class PagedKeyValues:
    """Shape (pages, page_tokens, kv_heads, head_dim) per layer; a page is a block of the pool.

    One page more than the pool gives out, `spare_page`: rows that only fill up a batch write there and read there.
    """

    def __init__(self, config: PretrainedConfig, pool: BlockPool, *, dtype: torch.dtype, device: torch.device) -> None:
        heads, width = head_shape(config)
        self.spare_page = pool.blocks
        self.page_tokens = pool.block_tokens
        shape = (layers(config), pool.blocks + 1, pool.block_tokens, heads, width)
        # Zeros, not whatever was there: a key that is hidden has weight 0, and 0 times nan is nan.
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store a step's keys and values, (tokens, kv_heads, head_dim) each, and return the layer's whole pools."""
        self.keys[layer].flatten(0, 1).index_copy_(0, slots, keys)
        self.values[layer].flatten(0, 1).index_copy_(0, slots, values)
        return self.keys[layer], self.values[layer]

    def copy(self, block: BlockCopy) -> None:
        """Copy one page, all layers of it."""
        for pool in (self.keys, self.values):
            pool[:, block.target] = pool[:, block.source]

    def clear(self, extents: list[Extent]) -> None:
        """Zero what a sequence wrote, all layers of it."""
        for pool in (self.keys, self.values):
            slots = pool.flatten(1, 2)
            for start, stop in extents:
                slots[:, start:stop] = 0
