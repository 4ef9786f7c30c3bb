"""Replaces parts of a borrowed network by faster ones that compute the same, after its weights are read."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from inference.engine.network.fused_forward import FusedForward
from inference.engine.network.layers import Layer, Rotary, norm
from inference.engine.network.quantization import quant_of, vocabulary_head
from inference.engine.progress import Progress, silent

#: Decoder layers that `Layer` computes, and whether their attention takes its window from the configuration.
_WINDOW_OF_CONFIG = {
    "Gemma3DecoderLayer": False,
    "LlamaDecoderLayer": False,
    "MistralDecoderLayer": True,
    "Phi3DecoderLayer": True,
    "Qwen2DecoderLayer": False,
    "Qwen3DecoderLayer": False,
}


def fuse(
    network: PreTrainedModel, device: torch.device, *, progress: Progress = silent, quant: str | None = None
) -> str:
    """Bring a network to a device and fuse what is known of it, in place and a layer at a time.

    What is there twice meanwhile is one layer at most; memory-mapped weights are read here. A network of other layers
    keeps them as they are. `quant` says what becomes of the vocabulary's weights, None that the machine decides;
    returns what became of them.
    """
    borrowed: Any = network
    decoder = borrowed.get_decoder()
    layers: nn.ModuleList = getattr(decoder, "layers", None) or nn.ModuleList()
    known = bool(layers) and {type(layer).__name__ for layer in layers} <= _WINDOW_OF_CONFIG.keys()
    said = _Said(_bytes(network), progress)
    if known:
        for index, layer in enumerate(layers):
            layer_bytes = _bytes(layer)
            layers[index] = Layer(layer.to(device), window=_window(layer))
            said.more(layer_bytes)
        decoder.rotary_emb = Rotary(decoder.rotary_emb)
        decoder.norm = norm(decoder.norm.to(device))
    borrowed.to(device)
    head = borrowed.get_output_embeddings()
    if type(head) is nn.Linear:
        borrowed.set_output_embeddings(vocabulary_head(head, quant))
    if known:
        borrowed.forward = FusedForward(network)
    said.all()
    return quant_of(borrowed.get_output_embeddings())


def is_fused(network: PreTrainedModel) -> bool:
    """Whether its decoder layers were known and replaced."""
    return isinstance(network.forward, FusedForward)


class _Said:
    """Tells how many of all bytes are read, when that is another number of MB."""

    def __init__(self, total_bytes: int, progress: Progress) -> None:
        self._total_bytes, self._progress = total_bytes, progress
        self._done_bytes = 0

    def more(self, read_bytes: int) -> None:
        before = self._done_bytes // 10**6
        self._done_bytes += read_bytes
        if self._done_bytes // 10**6 > before:
            self._progress(f"reading weights: {self._done_bytes // 10**6} of {self._total_bytes // 10**6} MB")

    def all(self) -> None:
        self.more(self._total_bytes - self._done_bytes)


def _bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def _window(layer: Any) -> int | None:
    attention = layer.self_attn
    of = attention.config if _WINDOW_OF_CONFIG[type(layer).__name__] else attention
    window: int | None = getattr(of, "sliding_window", None)
    return window
