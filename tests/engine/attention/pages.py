"""Attention over pages for tests: the implementations that run here, and a recorder that computes at every replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from inference.engine.attention.paged_attention import GatheredAttention

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None,
    reason="Triton is not installed: it comes with the CUDA builds of torch, or by `pip install triton`",
)


class RecordableAttention:
    """The plain reference, which reads lengths on the device as a kernel does and so can be replayed."""

    name = "recordable"
    page_tokens = 16
    recordable = True

    def attend(self, query: Any, keys: Any, values: Any, reads: Any, **how: Any) -> torch.Tensor:
        return GatheredAttention().attend(
            query, keys, values, replace(reads, lengths=reads.key_lengths.tolist()), **how
        )


class Again:
    """A recording that computes again, into the same memory."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute = compute
        self.result = compute()
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        logits, step = self._compute()
        self.result[0].copy_(logits)
        self.result[1].layers_seen |= step.layers_seen
