"""Replaces parts of a borrowed network by faster ones that compute the same, after its weights are read."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from inference.engine.layers import Layer, Norm, Rotary
from inference.engine.linear import joined

#: Decoder layers that `Layer` computes, and whether their attention takes its window from the configuration.
_WINDOW_OF_CONFIG = {
    "Gemma3DecoderLayer": False,
    "LlamaDecoderLayer": False,
    "MistralDecoderLayer": True,
    "Phi3DecoderLayer": True,
    "Qwen2DecoderLayer": False,
    "Qwen3DecoderLayer": False,
}


def fuse(network: PreTrainedModel) -> None:
    """Fuse what is known, in place and a layer at a time, so that the weights of one layer at most are there twice.

    A network of other layers keeps them as they are.
    """
    decoder: Any = network.get_decoder()
    layers: nn.ModuleList = decoder.layers
    if {type(layer).__name__ for layer in layers} <= _WINDOW_OF_CONFIG.keys():
        for index, layer in enumerate(layers):
            layers[index] = Layer(layer, window=_window(layer))
        decoder.rotary_emb = Rotary(decoder.rotary_emb)
        decoder.norm = Norm(decoder.norm)
    head = network.get_output_embeddings()
    if type(head) is nn.Linear:
        network.set_output_embeddings(joined(head))


def _window(layer: Any) -> int | None:
    attention = layer.self_attn
    of = attention.config if _WINDOW_OF_CONFIG[type(layer).__name__] else attention
    window: int | None = getattr(of, "sliding_window", None)
    return window
