"""Steps in which every sequence decodes, recorded once for each size of batch and replayed.

A network of many small kernels costs the host more to launch than the device to compute. A recording is launched at
once; it reads and writes the same memory every time, so each step copies its numbers to where the recording reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from inference.engine.device.transfers import integers

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class DecodeRow(NamedTuple):
    """A sequence's next token, its position, the slot it is written to, and the pages of the sequence."""

    token_id: int
    position: int
    slot: int
    pages: list[int]


class DecodeInputs(NamedTuple):
    """Where a recording reads, int32: `numbers` (4, rows) are tokens, positions, slots and lengths of the keys.

    `tables` is (rows, pages at most).
    """

    numbers: Tensor
    tables: Tensor


class Recording(Protocol[Result_co]):
    """`result` is what was computed when it was recorded; `replay` computes it again in the same memory."""

    @property
    def result(self) -> Result_co: ...

    def replay(self) -> None: ...


class Record(Protocol):
    """Computes and records. Raises whatever the computation does, and MemoryError where it may take no more memory."""

    def __call__(self, compute: Callable[[], Result]) -> Recording[Result]: ...


class DecodeGraphs(Generic[Result]):
    """The recordings of one runner; the owner thread's alone. Made when a size is first needed, up to `most_rows`.

    Rows that only fill up a batch are `spare`. When a recording fails, none is made or used any more.
    """

    def __init__(
        self,
        compute: Callable[[DecodeInputs], Result],
        record: Record,
        *,
        most_rows: int,
        most_pages: int,
        spare: DecodeRow,
        device: torch.device,
    ) -> None:
        self._compute, self._record = compute, record
        self._most_rows, self._most_pages = most_rows, most_pages
        self._spare, self._device = spare, device
        self._recorded: dict[int, tuple[DecodeInputs, Recording[Result]]] = {}
        self._off = False

    def run(self, rows: Sequence[DecodeRow]) -> Result | None:
        """What `compute` gives for the rows and the spare ones behind them; None where there is no recording for it.

        Valid until the next run of as many rows.
        """
        size = 1 << (len(rows) - 1).bit_length()
        if self._off or len(rows) > self._most_rows:
            return None
        if size not in self._recorded and not self._add(size):
            return None
        inputs, recording = self._recorded[size]
        self._fill(inputs, rows)
        recording.replay()
        return recording.result

    def _add(self, size: int) -> bool:
        numbers = torch.empty((4, size), dtype=torch.int32, device=self._device)
        tables = torch.zeros((size, self._most_pages), dtype=torch.int32, device=self._device)
        inputs = DecodeInputs(numbers, tables)
        self._fill(inputs, [])
        try:
            self._recorded[size] = inputs, self._record(lambda: self._compute(inputs))
        except Exception as fault:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)  # raises if it is the device that is broken
            logger.warning("decodes of %d sequences are not recorded, nor any others from now on: %s", size, fault)
            self._off = True
            self._recorded.clear()
        return not self._off

    def _fill(self, inputs: DecodeInputs, rows: Sequence[DecodeRow]) -> None:
        size = inputs.numbers.shape[1]
        filled = [*rows, *[self._spare] * (size - len(rows))]
        width = max(len(row.pages) for row in filled)
        numbers, tables = integers(
            [
                [
                    *(row.token_id for row in filled),
                    *(row.position for row in filled),
                    *(row.slot for row in filled),
                    *(row.position + 1 for row in filled),
                ],
                padded_tables([row.pages for row in filled], width),
            ],
            self._device,
        )
        inputs.numbers.copy_(numbers.view(4, size))
        inputs.tables[:, :width].copy_(tables.view(size, width))


def padded_tables(tables: Sequence[list[int]], width: int) -> list[int]:
    """Tables of different lengths as the rows of one."""
    return [page for pages in tables for page in (*pages, *[0] * (width - len(pages)))]
