"""One forward of several sequences: what its attention reads, worked out once for all layers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from inference.engine.blocks import Extent
from inference.engine.key_values import KeyValues

#: Keys that attention over one sequence costs besides its own: what a call of its own takes, in keys of a wider call.
#: One thread, heads of 64: 45 us per call, 0.18 us per key.
_KEYS_PER_CALL = 200


class Span(NamedTuple):
    """One sequence's rows of the step, and the slots of all its tokens up to the last of these rows."""

    start: int
    stop: int
    extents: list[Extent]

    @property
    def rows(self) -> int:
        return self.stop - self.start

    @property
    def tokens(self) -> int:
        return sum(extent.stop - extent.start for extent in self.extents)


class Lanes(NamedTuple):
    """Sequences of one row each whose keys begin at equal distances: one view of the pool reads them all.

    Row `start + i` reads `width` slots from `first + i * distance`. `mask`, of shape (sequences, 1, 1, width), hides
    those that are not the sequence's own; None where there are none.
    """

    start: int
    stop: int
    first: int
    distance: int
    width: int
    mask: Tensor | None


class Chunk(NamedTuple):
    """Rows of one sequence, and the keys they read: neighbours in the pool, or picked by their slots.

    `mask`, of shape (rows, keys), hides what is not before a row or out of its window; None where `causal` says it all.
    """

    start: int
    stop: int
    keys: Extent | Tensor
    mask: Tensor | None
    causal: bool


class Forward:
    """Travels through the network as an argument of its forward; made for one forward and dropped."""

    def __init__(self) -> None:
        self.layers_seen: set[int] = set()


class Step(Forward):
    """A forward whose sequences are slices of memory, as a CPU reads them best.

    `slots` are those that the step's tokens are written to. Of the spans, those of one row come first, in the order of
    their first slot.
    """

    def __init__(self, key_values: KeyValues, slots: Tensor, spans: list[Span]) -> None:
        super().__init__()
        self.key_values = key_values
        self.slots = slots
        self._spans = spans
        self._reads: dict[int | None, list[Lanes | Chunk]] = {}

    def reads(self, window: int | None) -> list[Lanes | Chunk]:
        """What layers read that see the last `window` tokens, or all of them; covers every row once, in order."""
        if window not in self._reads:
            self._reads[window] = self._plan(window)
        return self._reads[window]

    def _plan(self, window: int | None) -> list[Lanes | Chunk]:
        single = [span for span in self._spans if span.rows == 1 and len(span.extents) == 1]
        other = [span for span in self._spans if span.rows > 1 or len(span.extents) > 1]
        groups = [self._lanes(group, window) for group in equally_spaced(single, self.key_values.keys.shape[2])]
        return sorted([*groups, *(self._chunk(span, window) for span in other)], key=lambda read: read.start)

    def _lanes(self, spans: list[Span], window: int | None) -> Lanes:
        """The keys from the first that any of them sees to the last."""
        lengths = [span.tokens for span in spans]
        hidden = [max(0, length - window) if window else 0 for length in lengths]
        low, high = min(hidden), max(lengths)
        mask = None
        if len({*lengths}) > 1:
            tokens = torch.arange(low, high)
            seen = (tokens < torch.tensor(lengths)[:, None]) & (tokens >= torch.tensor(hidden)[:, None])
            mask = self._additive(seen)[:, None, None]
        first = spans[0].extents[0].start
        distance = spans[1].extents[0].start - first if len(spans) > 1 else 0
        return Lanes(spans[0].start, spans[-1].stop, first + low, distance, high - low, mask)

    def _chunk(self, span: Span, window: int | None) -> Chunk:
        first = span.tokens - span.rows
        low = max(0, first - window + 1) if window else 0
        unbounded = not window or span.tokens - low <= window
        causal = first == 0 and unbounded
        mask = None
        if span.rows > 1 and not causal:
            tokens, rows = torch.arange(low, span.tokens), torch.arange(first, span.tokens)[:, None]
            seen = tokens <= rows
            mask = self._additive(seen if unbounded else seen & (tokens > rows - (window or 0)))
        return Chunk(span.start, span.stop, self._keys(span, low), mask, causal and span.rows > 1)

    def _keys(self, span: Span, low: int) -> Extent | Tensor:
        if len(span.extents) == 1:
            return Extent(span.extents[0].start + low, span.extents[0].stop)
        slots = torch.cat([torch.arange(extent.start, extent.stop) for extent in span.extents])
        return slots[low:].to(self.slots.device)

    def _additive(self, seen: Tensor) -> Tensor:
        """A mask to be added to the scores: with one of booleans each layer would make this again."""
        pool = self.key_values.keys
        return torch.zeros(seen.shape, dtype=pool.dtype).masked_fill_(~seen, float("-inf")).to(pool.device)


def equally_spaced(spans: list[Span], slots: int) -> list[list[Span]]:
    """Split spans of one extent, in the order of their slots, into groups that one view of a pool of `slots` covers.

    A group's view is as wide as its longest sequence, so a sequence joins only where what it makes the others read too
    much costs less than a call of its own.
    """
    groups: list[list[Span]] = []
    for span in spans:
        if groups and _joins(groups[-1], span, slots):
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _joins(group: list[Span], span: Span, slots: int) -> bool:
    starts = [one.extents[0].start for one in group] + [span.extents[0].start]
    lengths = [one.tokens for one in group] + [span.tokens]
    distance = starts[1] - starts[0]
    padding = max(lengths) * len(lengths) - sum(lengths)
    return (
        group[-1].stop == span.start
        and starts[-1] - starts[-2] == distance
        and max(lengths) <= distance
        and starts[-1] + max(lengths) <= slots
        and padding <= _KEYS_PER_CALL * (len(lengths) - 1)
    )
