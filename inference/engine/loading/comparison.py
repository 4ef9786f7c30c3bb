"""A network whose layers are not known here against itself with its own attention, once at load.

That it runs says little: some count positions by a cache of their own, or call the attention twice in a layer, and
would answer wrongly without a word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.engine.attention import attention
from inference.engine.loading.trial import UnusualNetworkError
from inference.engine.memory.blocks import BlockTable
from inference.engine.network.runner import Part, Runner

#: A sequence read in two parts, the first of them behind another sequence.
_FIRST, _TOKENS = 14, 24
#: The most that logits may differ, as a share of their spread: roundings make some hundredths, other keys a whole.
_MOST = 0.25


@torch.inference_mode()
def compare(runner: Runner) -> None:
    """Raises UnusualNetworkError where the logits are others, and whatever the network raises."""
    if runner.pool.free_blocks < 2 * runner.pool.blocks_for(_TOKENS):
        return
    ids = [(7919 * number + 11) % runner.vocabulary for number in range(_TOKENS)]
    ours, theirs = _ours(runner, ids), _theirs(runner, ids)
    errors = (ours - theirs).square().mean(dim=-1).sqrt() / theirs.std(dim=-1)
    # Half of the tokens decide: in a mixture of experts a rounding may send one to another expert.
    if not errors.median() <= _MOST:
        raise UnusualNetworkError("with our attention it computes something else than with its own")


def _ours(runner: Runner, ids: list[int]) -> Tensor:
    """Float32 logits after each token of the second part, (tokens, vocabulary)."""
    one, other = BlockTable(runner.pool), BlockTable(runner.pool)
    try:
        other.reserve(0, _TOKENS)
        one.reserve(0, _TOKENS)
        runner.run([Part(ids[::-1], 0, other, wanted=1), Part(ids[:_FIRST], 0, one, wanted=1)])
        return runner.run([Part(ids[_FIRST:], _FIRST, one, wanted=_TOKENS - _FIRST)])[0]
    finally:
        one.release()
        other.release()


def _theirs(runner: Runner, ids: list[int]) -> Tensor:
    """The same by a plain forward."""
    network: Any = runner.network
    if runner.long_rope is not None:
        runner.long_rope.choose([False] * len(ids))
    network.set_attn_implementation("eager")
    try:
        output = network(input_ids=torch.tensor([ids], device=network.device), use_cache=False)
    finally:
        network.set_attn_implementation(attention.NAME)
    logits: Tensor = output.logits[0, _FIRST:].float()
    return logits
