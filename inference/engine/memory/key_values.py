"""Keys and values of all tokens that a model remembers, one tensor of each per layer."""

from __future__ import annotations

import math
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Protocol

import torch
from torch import Tensor
from transformers import PretrainedConfig

from inference.engine.memory.blocks import BLOCK_TOKENS, BlockCopy, Extent

_WIDE = torch.complex128


class Memory(Protocol):
    """What whoever owns blocks does to their content, however it lies on the device."""

    keys: Tensor
    values: Tensor

    def copy(self, block: BlockCopy) -> None:
        """Copy one block, all layers of it."""

    def clear(self, extents: list[Extent]) -> None:
        """Zero what a sequence wrote, all layers of it."""


class KeyValues:
    """Shape (2 * kv_heads, slots, head_dim) per layer, the keys first: what a head reads of a sequence lies together.

    On one CPU thread, attention of 16 sequences of 300 tokens, one by one, took 1.8 ms with this order and 2.5 with
    slots before heads (4 heads of 64, bfloat16).
    """

    def __init__(self, config: PretrainedConfig, tokens: int, *, dtype: torch.dtype, device: torch.device) -> None:
        heads, width = head_shape(config)
        self.both = _zeros((layers(config), 2 * heads, tokens, width), dtype, device)
        self.keys, self.values = self.both.chunk(2, dim=1)
        self._layers = list(self.both)
        self._wide = [wide(layer) for layer in self._layers]

    def write(self, layer: int, slots: Tensor, both: Tensor) -> Tensor:
        """Store a step's keys and values, (2 * kv_heads, tokens, head_dim), and return the layer's whole pool."""
        self._wide[layer].index_copy_(1, slots, wide(both))
        return self._layers[layer]

    def copy(self, block: BlockCopy) -> None:
        """Copy one block, all layers of it."""
        source, target = (slice(number * BLOCK_TOKENS, (number + 1) * BLOCK_TOKENS) for number in block)
        self.both[:, :, target] = self.both[:, :, source]

    def clear(self, extents: list[Extent]) -> None:
        """Zero what a sequence wrote, all layers of it."""
        for start, stop in extents:
            self.both[:, :, start:stop] = 0


def wide(rows: Tensor) -> Tensor:
    """The same memory as numbers of 16 bytes, if its last dimension is some of them; torch copies number by number.

    16 tokens of 8 heads of 64, written to as many places of the pool within the network: 43 us against 62.
    """
    return rows if rows.shape[-1] * rows.itemsize % _WIDE.itemsize else rows.view(_WIDE)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, not whatever was there: rows of padding are read with weight 0, and 0 times nan is nan.

    On a CPU they are pages that take no memory until they are written, where `torch.zeros` writes them all at once.
    Large pages would bring a process that served the bench's requests to 4.0 GB, not 0.8, since each head has its own.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = mmap(-1, math.prod(shape) * dtype.itemsize, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


def layers(config: PretrainedConfig) -> int:
    return int(config.get_text_config(decoder=True).num_hidden_layers)


def head_shape(config: PretrainedConfig) -> tuple[int, int]:
    """How many heads the keys have, and the width of each."""
    text = config.get_text_config(decoder=True)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return int(heads), int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def bytes_per_token(config: PretrainedConfig, element_bytes: int, *, cards: int = 1) -> int:
    """Of one card, where `cards` share the heads. Layers with a window keep everything here, so every layer counts."""
    heads, width = head_shape(config)
    return 2 * layers(config) * max(1, heads // cards) * width * element_bytes
