"""One forward for all sequences of a model that compute in a step."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inference.engine.blocks import BlockCopy, BlockPool, BlockTable
from inference.engine.key_values import KeyValues
from inference.engine.long_rope import with_long_rope
from inference.engine.step import Span, Step


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


class Runner:
    """A network and what it remembers, on one device; the owner thread's alone. `pool` says which memory is whose."""

    def __init__(self, network: PreTrainedModel, tokens: int, *, lanes: int) -> None:
        self.network = network
        # Kernels with block tables read blocks wherever they are.
        neighbours = network.device.type == "cpu"
        self.pool = BlockPool(tokens, lanes=lanes, neighbours=neighbours, move=self._move)
        self.key_values = KeyValues(network.config, self.pool.tokens, dtype=network.dtype, device=network.device)
        self.vocabulary = int(network.config.get_text_config(decoder=True).vocab_size)
        self.long_rope = with_long_rope(network)
        self._keeps = "logits_to_keep" in inspect.signature(network.forward).parameters

    def extends(self, tokens: int) -> bool:
        """Whether the parts of a sequence that may have so many tokens, prompt and answer, are `extended`."""
        return self.long_rope is not None and self.long_rope.extends(tokens)

    def _move(self, block: BlockCopy) -> None:
        self.key_values.copy(block)

    @torch.inference_mode()
    def run(self, parts: Sequence[Part]) -> tuple[Tensor, Step]:
        """Read the parts in one forward.

        Returns float32 logits of shape (wanted of all parts, vocabulary), in the order of the parts and their tokens,
        and the step as it went.
        """
        order = sorted(range(len(parts)), key=lambda index: _reading_order(parts[index]))
        laid, spans = [parts[index] for index in order], []
        at = 0
        for part in laid:
            stop = at + len(part.token_ids)
            spans.append(Span(at, stop, part.table.extents(part.first + len(part.token_ids))))
            at = stop
        step = Step(self.key_values, self._tensor([slot for part in laid for slot in _slots(part)]), spans)
        stops = {index: span.stop for index, span in zip(order, spans, strict=True)}
        wanted = [row for index, part in enumerate(parts) for row in range(stops[index] - part.wanted, stops[index])]
        return self._forward(laid, step, self._tensor(wanted)), step

    def _forward(self, parts: list[Part], step: Step, wanted: Tensor) -> Tensor:
        ids = [token for part in parts for token in part.token_ids]
        if self.long_rope is not None:
            self.long_rope.choose([part.extended for part in parts for _ in part.token_ids])
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
