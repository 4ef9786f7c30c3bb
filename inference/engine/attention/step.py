"""One forward of several sequences: what its attention reads, worked out once for all layers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from inference.engine.device.kernel_caches import recurring_from
from inference.engine.memory.blocks import Extent
from inference.engine.memory.kept_rows import Group, Kept, KeptRows, Member
from inference.engine.memory.key_values import KeyValues

#: Keys that sequences may read too much so that one call reads them all: what a call of its own takes, in keys.
#: One thread, 4 heads of 64: 50 us per call, 0.08 us per key.
_KEYS_PER_CALL = 600
#: A copy of keys and values is smaller than this: from 32 MiB on malloc asks the kernel for fresh pages each time,
#: which made a step of 64 sequences of 1,024 five times as long as one of 32.
_COPY_BYTES = 24 * 1024 * 1024


class Span(NamedTuple):
    """One sequence's rows of the step, and the slots of all its tokens up to the last of these rows.

    `table` is the number of its block table.
    """

    start: int
    stop: int
    extents: list[Extent]
    table: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    @property
    def tokens(self) -> int:
        return sum(extent.stop - extent.start for extent in self.extents)

    def hidden(self, window: int | None) -> int:
        """How many of its first tokens the last row does not see."""
        return max(0, self.tokens - window) if window else 0

    def slots(self, first: int) -> Tensor:
        """Of its tokens from `first` on."""
        return torch.cat([torch.arange(extent.start, extent.stop) for extent in self.extents])[first:]


class Run(NamedTuple):
    """Slots of `sequences` that begin at equal distances: sequence `i` from `first + i * distance` on."""

    first: int
    distance: int
    sequences: int


class Rows(NamedTuple):
    """Sequences of one row each, which read `width` keys each: in runs, or those at slots (sequences * width).

    `mask`, of shape (kv_heads * sequences, 1, width), hides what is not the sequence's own; None where all of it is.
    The last `padding` keys of one that is computed alone repeat its first. `kept` is what earlier steps copied of it.
    """

    start: int
    stop: int
    keys: list[Run] | Tensor
    width: int
    mask: Tensor | None
    kept: Kept | None
    padding: int = 0


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
    """Travels through the network as an argument of its forward; made for one forward and dropped.

    `broken` are those of its parts, by their number, of which it wrote something to memory that is no number.
    """

    def __init__(self) -> None:
        self.layers_seen: set[int] = set()
        self.broken: frozenset[int] = frozenset()


class Step(Forward):
    """A forward whose sequences are slices of memory, as a CPU reads them best.

    `slots` are those that the step's tokens are written to. Of the spans, those of one row come first, in the order of
    their first slot.
    """

    def __init__(self, key_values: KeyValues, slots: Tensor, spans: list[Span], kept: KeptRows) -> None:
        super().__init__()
        self.key_values = key_values
        self.slots = slots
        self._spans = spans
        self._kept = kept
        self._finite: Tensor | None = None
        self._reads: dict[int | None, list[Rows | Chunk]] = {}

    def reads(self, window: int | None) -> list[Rows | Chunk]:
        """What layers read that see the last `window` tokens, or all of them; covers every row once, in order."""
        if window not in self._reads:
            self._reads[window] = self._plan(window)
        return self._reads[window]

    def note(self, layer: int, output: Tensor) -> None:
        """Take the attention of a layer, (rows, width); after the last one it is known who is `finite`.

        A row sees itself, so where its keys or values are no numbers its output is none, and then nothing of it is in
        later layers.
        """
        if layer == len(self.key_values.keys) - 1:
            self._finite = output.sum(dim=-1).isfinite()

    def finite(self) -> list[bool]:
        """Of each span, in their order, whether everything is a number that it wrote to memory."""
        if self._finite is None or bool(self._finite.all()):
            return [True] * len(self._spans)
        return [bool(self._finite[span.start : span.stop].all()) for span in self._spans]

    def _plan(self, window: int | None) -> list[Rows | Chunk]:
        single = [span for span in self._spans if span.rows == 1]
        longer = [span for span in self._spans if span.rows > 1]
        rows = [self._rows(group, window) for group in alike(single, window, most_keys=self._most_keys)]
        return [*rows, *(self._chunk(span, window) for span in longer)]

    @property
    def _most_keys(self) -> int:
        _, heads, _, width = self.key_values.both.shape
        return _COPY_BYTES // (heads * width * self.key_values.both.element_size())

    def _rows(self, spans: list[Span], window: int | None) -> Rows:
        hidden = torch.tensor([span.hidden(window) for span in spans])
        lengths = torch.tensor([span.tokens for span in spans])
        width = recurring_from(int((lengths - hidden).max()))
        low = int(hidden.min())
        between = int(lengths.max()) - low
        # One that is computed alone reads nobody else's keys: it may be alone because theirs are no numbers.
        own = between if len(spans) == 1 else recurring_from(between)
        runs = _runs(spans, low, low + own, self.key_values.keys.shape[2]) if between < 2 * width else []
        if runs:
            tokens = torch.arange(low, low + recurring_from(between))
            seen = (tokens >= hidden[:, None]) & (tokens < lengths[:, None])
            kept = None if low else self._kept.of(_group(spans, len(tokens)), window)
            padding = len(tokens) - own
            return Rows(spans[0].start, spans[-1].stop, runs, len(tokens), self._row_mask(seen), kept, padding)
        seen = torch.arange(width) < (lengths - hidden)[:, None]
        keys = self._picked(spans, width, window)
        kept = None if bool(hidden.any()) else self._kept.of(_group(spans, width), window)
        return Rows(spans[0].start, spans[-1].stop, keys, width, self._row_mask(seen), kept)

    def _row_mask(self, seen: Tensor) -> Tensor | None:
        heads = self.key_values.keys.shape[1]
        return None if bool(seen.all()) else self._additive(seen)[:, None].repeat(heads, 1, 1)

    def _picked(self, spans: list[Span], width: int, window: int | None) -> Tensor:
        """The slots that each sees, filled up with one that it has, which is masked: nobody else's are read."""
        picked = torch.empty(len(spans), width, dtype=torch.long)
        for row, span in zip(picked, spans, strict=True):
            slots = span.slots(span.hidden(window))
            row[: len(slots)] = slots
            row[len(slots) :] = slots[0]
        return picked.view(-1).to(self.slots.device)

    def _chunk(self, span: Span, window: int | None) -> Chunk:
        first = span.tokens - span.rows
        low = max(0, first - window + 1) if window else 0
        unbounded = not window or span.tokens - low <= window
        causal = first == 0 and unbounded
        mask = None
        if not causal:
            tokens, rows = torch.arange(low, span.tokens), torch.arange(first, span.tokens)[:, None]
            seen = tokens <= rows
            mask = self._additive(seen if unbounded else seen & (tokens > rows - (window or 0)))
        keys = span.slots(low).to(self.slots.device) if len(span.extents) > 1 else _behind(span.extents[0], low)
        return Chunk(span.start, span.stop, keys, mask, causal)

    def _additive(self, seen: Tensor) -> Tensor:
        """A mask to be added to the scores: with one of booleans each layer would make this again."""
        pool = self.key_values.keys
        return torch.zeros(seen.shape, dtype=pool.dtype).masked_fill_(~seen, float("-inf")).to(pool.device)


def _group(spans: list[Span], width: int) -> Group:
    return Group(tuple(Member(span.table, span.tokens) for span in spans), width)


def alike(spans: list[Span], window: int | None, *, most_keys: int) -> list[list[Span]]:
    """Split spans of one row, in their order, into groups that are read by one call.

    A call reads as many keys of each as the longest has, so a sequence joins only where what it makes the others read
    too much costs less than a call of its own.
    """
    groups: list[list[Span]] = []
    widest = needed = 0  # of the last group: the keys of its longest, and those of all together
    for span in spans:
        width = span.tokens - span.hidden(window)
        joined = len(groups[-1]) if groups else 0
        read = max(widest, width) * (joined + 1)
        if joined and read <= most_keys and read - needed - width <= _KEYS_PER_CALL * joined:
            groups[-1].append(span)
            widest, needed = max(widest, width), needed + width
        else:
            groups.append([span])
            widest = needed = width
    return groups


def _runs(spans: list[Span], low: int, high: int, slots: int) -> list[Run]:
    """The tokens `low` up to `high` of all of them, in as few runs as possible.

    None where a sequence is not together, or is too near the end of the pool's `slots` to be read that far.
    """
    starts = [span.extents[0].start + low for span in spans]
    if any(len(span.extents) > 1 for span in spans) or max(starts) + high - low > slots:
        return []
    runs: list[Run] = []
    for start in starts:
        first, distance, count = runs[-1] if runs else Run(start, 0, 0)
        if runs and (count == 1 or start - first == count * distance):
            runs[-1] = Run(first, (start - first) // count, count + 1)
        else:
            runs.append(Run(start, 0, 1))
    return runs


def _behind(extent: Extent, tokens: int) -> Extent:
    return Extent(extent.start + tokens, extent.stop)
