"""One forward for all sequences of a model that compute in a step."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inference.engine.blocks import BlockPool, BlockTable
from inference.engine.key_values import KeyValues
from inference.engine.step import Span, Step


class Part(NamedTuple):
    """The next tokens of one sequence: `token_ids` come behind `first` tokens that were read before.

    Their slots in `table` are reserved. `wanted` says whether the logits after the last of them are.
    """

    token_ids: list[int]
    first: int
    table: BlockTable
    wanted: bool


class Runner:
    """A network and what it remembers, on one device; the owner thread's alone. `pool` says which memory is whose."""

    def __init__(self, network: PreTrainedModel, tokens: int, *, lanes: int) -> None:
        self.network = network
        self.pool = BlockPool(tokens, lanes=lanes)
        self.key_values = KeyValues(network.config, self.pool.tokens, dtype=network.dtype, device=network.device)
        self.vocabulary = int(network.config.get_text_config(decoder=True).vocab_size)
        self._keeps = "logits_to_keep" in inspect.signature(network.forward).parameters

    @torch.inference_mode()
    def run(self, parts: Sequence[Part]) -> tuple[Tensor, Step]:
        """Read the parts in one forward.

        Returns float32 logits of shape (wanted parts, vocabulary), in the order of the parts, and the step as it went.
        """
        order = sorted(range(len(parts)), key=lambda index: _reading_order(parts[index]))
        laid, spans = [parts[index] for index in order], []
        at = 0
        for part in laid:
            stop = at + len(part.token_ids)
            spans.append(Span(at, stop, part.table.extents(part.first + len(part.token_ids))))
            at = stop
        step = Step(self.key_values, self._tensor([slot for part in laid for slot in _slots(part)]), spans)
        last = {index: span.stop - 1 for index, span in zip(order, spans, strict=True)}
        wanted = self._tensor([last[index] for index, part in enumerate(parts) if part.wanted])
        return self._forward(laid, step, wanted), step

    def _forward(self, parts: list[Part], step: Step, wanted: Tensor) -> Tensor:
        ids = [token for part in parts for token in part.token_ids]
        positions = [part.first + index for part in parts for index in range(len(part.token_ids))]
        output: Any = self.network(
            input_ids=self._tensor(ids)[None],
            position_ids=self._tensor(positions)[None],
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


def _slots(part: Part) -> list[int]:
    return part.table.slots(part.first, part.first + len(part.token_ids))
