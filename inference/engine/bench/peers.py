"""The same requests by others: transformers in three ways, and nothing but the multiplications."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import linear
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from inference.engine.bench.workload import Workload

_GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
_PAGE_TOKENS = 256  # transformers' own
#: Of a step. Its mask has so many rows, so that more than a batch's prompts would slow it down.
_MOST_TOKENS = 4096


def load(folder: Path, device: torch.device) -> Any:
    """transformers' own network in bfloat16, with torch's attention."""
    loader: Any = AutoModelForCausalLM
    return loader.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa").to(device).eval()


@torch.inference_mode()
def one_by_one(network: Any, work: Workload) -> float:
    """Seconds of `generate` for each request by itself."""
    started = time.perf_counter()
    for prompt, tokens in zip(work.prompts, work.outputs, strict=True):
        ids = torch.tensor([prompt], device=network.device)
        network.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, **_GREEDY
        )
    return _elapsed(started, network.device)


@torch.inference_mode()
def padded(network: Any, work: Workload) -> float:
    """Seconds of one `generate` for all, filled up on the left, as long as the longest takes."""
    longest, tokens = max(map(len, work.prompts)), max(work.outputs)
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in work.prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in work.prompts])
    started = time.perf_counter()
    network.generate(
        ids.to(network.device),
        attention_mask=mask.to(network.device),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        **_GREEDY,
    )
    return _elapsed(started, network.device)


def continuous(network: Any, work: Workload, *, told: bool) -> float:
    """Seconds of `generate_batch`, its continuous batching. It takes one length for all: the mean.

    Left to itself it takes most of the machine's memory and clears it first; or it is told how much the work needs.
    """
    tokens = round(work.output_tokens / len(work.outputs))
    config_of: Any = GenerationConfig
    config = config_of(max_new_tokens=tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
    blocks = sum(-(-(len(prompt) + tokens) // _PAGE_TOKENS) + 1 for prompt in work.prompts)
    room = ContinuousBatchingConfig(num_blocks=blocks, max_batch_tokens=_MOST_TOKENS) if told else None
    started = time.perf_counter()
    answers = network.generate_batch(inputs=work.prompts, generation_config=config, continuous_batching_config=room)
    seconds = _elapsed(started, network.device)
    written = sum(len(answer.generated_tokens) for answer in answers.values())
    return seconds * work.output_tokens / written


@torch.inference_mode()
def multiplications(network: Any, work: Workload) -> float:
    """Seconds of torch's `linear` alone for the steps of the whole batch, with projections of one input as one."""
    layers = [_weights(layer) for layer in network.model.layers]
    head = network.lm_head.weight

    def step(rows: int, sampled: int) -> None:
        for weights in layers:
            for weight in weights:
                linear(weight.new_zeros(rows, weight.shape[1]), weight)
        linear(head.new_zeros(sampled, head.shape[1]), head)

    started = time.perf_counter()
    for prompt in work.prompts:
        step(len(prompt), 1)
    for token in range(1, max(work.outputs)):
        writing = sum(tokens > token for tokens in work.outputs)
        step(writing, writing)
    return _elapsed(started, network.device)


def _weights(layer: Any) -> list[torch.Tensor]:
    attention, mlp = layer.self_attn, layer.mlp
    return [
        torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]),
        attention.o_proj.weight,
        torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
        mlp.down_proj.weight,
    ]


def _elapsed(started: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
