"""One forward over pages: what its attention reads, put on the device once for all layers."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.engine.attention.paged_attention import PagedAttention, Reads
from inference.engine.attention.step import Forward
from inference.engine.memory.paged_key_values import PagedKeyValues


class PagedStep(Forward):
    """Writes its tokens to `slots` (tokens), int64, and reads what `reads` say: every row once, in their order."""

    def __init__(
        self, key_values: PagedKeyValues, attention: PagedAttention, slots: Tensor, reads: list[Reads]
    ) -> None:
        super().__init__()
        self.slots = slots
        self._key_values, self._attention, self._reads = key_values, attention, reads

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, window: int | None
    ) -> Tensor:
        """Attention of the step's tokens, (heads, tokens, head_dim); returns (tokens, heads, head_dim)."""
        keys, values = self._key_values.write(layer, self.slots, key.transpose(0, 1), value.transpose(0, 1))
        rows = query.transpose(0, 1)
        parts = [
            self._attention.attend(rows[reads.start : reads.stop], keys, values, reads, scaling=scaling, window=window)
            for reads in self._reads
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
