"""The largest step there may be, computed once at load: whether it can be, how fast it is, and what it takes."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch

from inference.engine.attention.step import Forward
from inference.engine.limits.pace import MOST_TOKENS, UNMEASURED_TOKENS
from inference.engine.memory.blocks import BlockTable
from inference.engine.memory.key_values import layers
from inference.engine.network.runner import Part, Runner


class UnusualNetworkError(Exception):
    """The network does not compute here what it was made to."""


class Trial(NamedTuple):
    """`prefill_rate` is in tokens per second; `peak_bytes` is what the device held at most besides what it holds."""

    prefill_rate: float
    peak_bytes: int


def try_out(runner: Runner, *, most_tokens: int) -> Trial:
    """Read one token, so that whatever is made at the first call is made, and then as much as a step may hold.

    On a CPU that is a step of the size that is read before anything is measured: its memory is the host's, and a large
    model takes long. Raises UnusualNetworkError, and whatever the network raises.
    """
    device = runner.network.device
    step = _read(runner, 1)
    if step.layers_seen != set(range(layers(runner.network.config))):
        raise UnusualNetworkError("its layers have an attention of their own")
    tokens = min(MOST_TOKENS if device.type == "cuda" else UNMEASURED_TOKENS, most_tokens, runner.pool.tokens)
    before = _held(device)
    started = time.perf_counter()
    _read(runner, tokens)
    return Trial(tokens / (time.perf_counter() - started), _peak(device) - before)


def _read(runner: Runner, tokens: int) -> Forward:
    table = BlockTable(runner.pool)
    try:
        table.reserve(0, tokens)
        logits, step = runner.run([Part([0] * tokens, 0, table, wanted=1)])
        if not logits.amax().isfinite():  # a GPU is waited for
            raise UnusualNetworkError("its weights make logits that are no numbers")
        return step
    finally:
        table.release()


def _held(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
