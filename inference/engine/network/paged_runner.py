"""The runner of devices whose attention reads pages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inference.engine.attention.paged_attention import PagedAttention, Reads
from inference.engine.attention.paged_step import PagedStep
from inference.engine.attention.step import Forward
from inference.engine.device.transfers import integers
from inference.engine.facts import maximum_context_tokens
from inference.engine.memory.blocks import BlockPool
from inference.engine.memory.paged_key_values import PagedKeyValues
from inference.engine.network.decode_graphs import DecodeGraphs, DecodeInputs, DecodeRow, Record, padded_tables
from inference.engine.network.runner import Part, Runner


class PagedRunner(Runner):
    """`attention` decides how large a page is. With `record`, decodes are recorded where the attention allows it."""

    def __init__(
        self,
        network: PreTrainedModel,
        tokens: int,
        *,
        lanes: int,
        attention: PagedAttention,
        record: Record | None = None,
    ) -> None:
        self._attention = attention
        self.attention = attention.name
        super().__init__(network, tokens, lanes=lanes)
        self._graphs: DecodeGraphs[tuple[Tensor, PagedStep]] | None = None
        # A recording has the positions of every sequence computed alike.
        if record is not None and attention.recordable and self.long_rope is None:
            pages = self.pool.blocks_for(min(maximum_context_tokens(network.config), self.pool.tokens))
            spare = DecodeRow(0, 0, self._pages.spare_page * self.pool.block_tokens, [self._pages.spare_page])
            self._graphs = DecodeGraphs(
                self._decode, record, most_rows=lanes, most_pages=pages, spare=spare, device=network.device
            )

    def _set_memory_aside(self, tokens: int, lanes: int) -> None:
        # Block tables are read wherever the blocks are.
        self.pool = BlockPool(tokens, lanes=lanes, neighbours=False, block_tokens=self._attention.page_tokens)
        network = self.network
        self._pages = PagedKeyValues(network.config, self.pool, dtype=network.dtype, device=network.device)
        self.key_values = self._pages

    @torch.inference_mode()
    def run(self, parts: Sequence[Part]) -> tuple[Tensor, Forward]:
        return self._replayed(parts) or self._computed(parts)

    def _replayed(self, parts: Sequence[Part]) -> tuple[Tensor, Forward] | None:
        if self._graphs is None or any(len(part.token_ids) > 1 for part in parts):
            return None
        decoded = self._graphs.run(
            [DecodeRow(part.token_ids[0], part.first, part.slots[0], self._used_pages(part)) for part in parts]
        )
        if decoded is None:
            return None
        logits, step = decoded
        wanted = [row for row, part in enumerate(parts) if part.wanted]
        if len(wanted) == len(parts):
            return logits[: len(parts)], step
        [places] = integers([wanted], self.network.device)
        return logits.index_select(0, places), step

    def _decode(self, inputs: DecodeInputs) -> tuple[Tensor, PagedStep]:
        """Logits (rows, vocabulary) of rows that all decode. Its reads are as long as a recording may ever be."""
        ids, positions, slots, lengths = inputs.numbers
        rows, most_pages = inputs.tables.shape
        starts = torch.arange(rows + 1, dtype=torch.int32, device=inputs.tables.device)
        most_tokens = most_pages * self.pool.block_tokens
        reads = Reads(0, rows, [1] * rows, [most_tokens] * rows, starts, lengths, inputs.tables)
        step = PagedStep(self._pages, self._attention, slots.long(), [reads])
        return self._forward(ids, positions, step, starts[:-1]), step

    def _computed(self, parts: Sequence[Part]) -> tuple[Tensor, Forward]:
        # Those that decode stand first: both kinds are neighbours, and each is one call of attention.
        order = sorted(range(len(parts)), key=lambda index: len(parts[index].token_ids) > 1)
        laid = [parts[index] for index in order]
        decodes = sum(len(part.token_ids) == 1 for part in laid)
        groups = [group for group in (laid[:decodes], laid[decodes:]) if group]
        ends = dict(zip(order, _starts(laid)[1:], strict=True))
        ids, positions, slots, wanted, *tables = integers(
            [
                [token for part in laid for token in part.token_ids],
                [position for part in laid for position in part.positions],
                [slot for part in laid for slot in part.slots],
                [row for index, part in enumerate(parts) for row in range(ends[index] - part.wanted, ends[index])],
                *(numbers for group in groups for numbers in self._lists(group)),
            ],
            self.network.device,
        )
        reads, start = [], 0
        for index, group in enumerate(groups):
            reads.append(_reads(start, group, *tables[3 * index : 3 * index + 3]))
            start = reads[-1].stop
        step = PagedStep(self._pages, self._attention, slots.long(), reads)
        self._choose_positions(laid)
        return self._forward(ids, positions, step, wanted), step

    def _lists(self, parts: list[Part]) -> tuple[list[int], list[int], list[int]]:
        """What `Reads` has on the device: where rows start, lengths of the keys, tables of equal width."""
        pages = [self._used_pages(part) for part in parts]
        return _starts(parts), [part.stop for part in parts], padded_tables(pages, max(map(len, pages)))

    def _used_pages(self, part: Part) -> list[int]:
        return part.table.blocks[: self.pool.blocks_for(part.stop)]


def _starts(parts: Sequence[Part]) -> list[int]:
    """The first row of each part, counted from 0, and the end of the last."""
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part.token_ids))
    return starts


def _reads(start: int, parts: list[Part], row_starts: Tensor, lengths: Tensor, tables: Tensor) -> Reads:
    rows = [len(part.token_ids) for part in parts]
    stop = start + sum(rows)
    return Reads(start, stop, rows, [part.stop for part in parts], row_starts, lengths, tables.view(len(parts), -1))
