"""One forward for all sequences of a model that compute in a step."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inference.engine.attention.step import Forward, Span, Step
from inference.engine.memory.blocks import BlockCopy, BlockPool, BlockTable
from inference.engine.memory.kept_rows import KeptRows
from inference.engine.memory.key_values import KeyValues, Memory, bytes_per_token
from inference.engine.network.long_rope import with_long_rope

#: Copies of what decodes read are kept of so many tokens as one in this many of the pool.
_POOL_PER_KEPT = 4


class Part(NamedTuple):
    """The next tokens of one sequence: `token_ids` come behind `first` tokens that were read before.

    Their slots in `table` are reserved. `wanted` says after how many of them, the last ones, the logits are. `extended`
    says that the sequence may pass the length up to which a model with LongRoPE uses its short factors.
    """

    token_ids: list[int]
    first: int
    table: BlockTable
    wanted: int
    extended: bool = False

    @property
    def stop(self) -> int:
        """The tokens of the sequence when the part is read."""
        return self.first + len(self.token_ids)

    @property
    def positions(self) -> range:
        return range(self.first, self.stop)

    @property
    def slots(self) -> list[int]:
        """Where its keys and values go."""
        return self.table.slots(self.first, self.stop)


class Runner:
    """A network and what it remembers, on one device; the owner thread's alone. `pool` says which memory is whose."""

    pool: BlockPool
    key_values: Memory
    #: What its attention is computed by, in words.
    attention = "sdpa"

    def __init__(self, network: PreTrainedModel, tokens: int, *, lanes: int) -> None:
        self.network = network
        self._set_memory_aside(tokens, lanes)
        self.vocabulary = int(network.config.get_text_config(decoder=True).vocab_size)
        self.long_rope = with_long_rope(network)
        self._keeps = "logits_to_keep" in inspect.signature(network.forward).parameters

    @property
    def free_bytes(self) -> int:
        """Of the memory set aside, what no sequence holds."""
        element = self.network.dtype.itemsize
        return self.pool.free_blocks * self.pool.block_tokens * bytes_per_token(self.network.config, element)

    def extends(self, tokens: int) -> bool:
        """Whether the parts of a sequence that may have so many tokens, prompt and answer, are `extended`."""
        return self.long_rope is not None and self.long_rope.extends(tokens)

    def _set_memory_aside(self, tokens: int, lanes: int) -> None:
        config, network = self.network.config, self.network
        self.pool = BlockPool(tokens, lanes=lanes, move=self._move)
        self._slices = KeyValues(config, self.pool.tokens, dtype=network.dtype, device=network.device)
        self.key_values = self._slices
        self._kept = KeptRows(self.pool.tokens // _POOL_PER_KEPT)

    def _move(self, block: BlockCopy) -> None:
        self.key_values.copy(block)

    @torch.inference_mode()
    def run(self, parts: Sequence[Part]) -> tuple[Tensor, Forward]:
        """Read the parts in one forward.

        Returns float32 logits of shape (wanted of all parts, vocabulary), in the order of the parts and their tokens,
        and the step as it went.
        """
        order = sorted(range(len(parts)), key=lambda index: _reading_order(parts[index]))
        laid, spans = [parts[index] for index in order], []
        at = 0
        for part in laid:
            stop = at + len(part.token_ids)
            spans.append(Span(at, stop, part.table.extents(part.stop), part.table.number))
            at = stop
        step = Step(self._slices, self._tensor([slot for part in laid for slot in part.slots]), spans, self._kept)
        stops = {index: span.stop for index, span in zip(order, spans, strict=True)}
        wanted = [row for index, part in enumerate(parts) for row in range(stops[index] - part.wanted, stops[index])]
        ids = self._tensor([token for part in laid for token in part.token_ids])
        positions = self._tensor([position for part in laid for position in part.positions])
        self._choose_positions(laid)
        with self._kept:
            logits = self._forward(ids, positions, step, self._tensor(wanted))
        step.broken = frozenset(part for part, finite in zip(order, step.finite(), strict=True) if not finite)
        if step.broken:
            self._kept.forget()
        return logits, step

    def _choose_positions(self, laid: Sequence[Part]) -> None:
        if self.long_rope is not None:
            self.long_rope.choose([part.extended for part in laid for _ in part.token_ids])

    def _forward(self, ids: Tensor, positions: Tensor, step: Forward, wanted: Tensor) -> Tensor:
        """Float32 logits after the rows `wanted`; all arguments on the network's device."""
        output: Any = self.network(
            input_ids=ids[None],
            position_ids=positions[None],
            use_cache=False,
            step=step,
            **({"logits_to_keep": wanted} if self._keeps else {}),
        )
        logits: Tensor = output.logits[0] if self._keeps else output.logits[0, wanted]
        return logits.float()

    def _tensor(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self.network.device)


def _reading_order(part: Part) -> tuple[bool, int]:
    """Parts of one token before longer ones, by their place in the pool: `Step` reads such neighbours together."""
    return len(part.token_ids) > 1, part.table.blocks[0]
