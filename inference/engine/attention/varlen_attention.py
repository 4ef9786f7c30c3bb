"""Attention over pages by the FlashAttention that is built into torch for CUDA."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from inference.engine.attention.paged_attention import Reads


class VarlenAttention:
    """`torch.nn.attention.varlen` of torch 2.13 with block tables: float16 and bfloat16, on Ampere and newer.

    Its FlashAttention 2 takes pages of 256 tokens and multiples of that only (flash_api.cpp, mha_varlen_fwd), and
    splits the keys of one sequence wrongly for all sequences but the first (pytorch issue 194167), hence `num_splits`.
    """

    name = "varlen"
    page_tokens = 256
    recordable = True

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, reads: Reads, *, scaling: float, window: int | None
    ) -> Tensor:
        # Imported here: it registers operators, which a device that does not use them has no need of.
        from torch.nn.attention.varlen import varlen_attn

        # Out of place: the one that is given its output computes into a copy of it where decodes have grouped heads.
        output = varlen_attn(
            query,
            keys,
            values,
            reads.row_starts,
            reads.key_starts,
            max(reads.rows),
            max(reads.lengths),
            scale=scaling,
            # Tokens before a row's own and behind it.
            window_size=(window - 1 if window else -1, 0),
            enable_gqa=True,
            seqused_k=reads.key_lengths,
            block_table=reads.tables,
            num_splits=1,
        )
        return cast(Tensor, output)
