"""What needs a GPU: the workload that small engines are compared by, and decoding one sequence of 8B."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from inference.engine.bench.report import Setting, Table
from inference.engine.bench.shapes import QWEN3_06B, QWEN3_8B, TINY, random_runner, save_random_model
from inference.engine.bench.steps import least_step_ms
from inference.engine.bench.workload import Served, mixed


def offline(setting: Setting) -> Table:
    """nano-vllm's bench.py: 256 requests at once, in and out uniform 100 to 1,024, Qwen3-0.6B, end tokens ignored."""
    shape = TINY if setting.quick else QWEN3_06B
    count, bounds = (4, (4, 8)) if setting.quick else (256, (100, 1024))
    work = mixed(count, prompt=bounds, output=bounds, vocabulary=min(10000, shape["vocab_size"]))
    table = Table(f"{count} requests of {bounds[0]} to {bounds[1]} tokens in and out", ["", "tok/s", "seconds"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = save_random_model(shape, Path(temporary))
        served = Served(str(folder), str(setting.device), max_in_flight=count)
        try:
            seconds = min(served.seconds(work) for _ in range(setting.rounds))
        finally:
            served.close()
    table.rows = [["engine", work.output_tokens / seconds, seconds]]
    return table


def single(setting: Setting) -> Table:
    """Decoding one sequence reads every weight once: the share of the speed at which the device copies memory."""
    shape = TINY if setting.quick else QWEN3_8B
    runner = random_runner(shape, setting.device, tokens=2048, lanes=1)
    step_ms = least_step_ms(runner, 1, 1024, steps=20 * setting.rounds)
    read_bytes = 2 * _multiplied(shape)
    read_gb_s, copy_gb_s = read_bytes / step_ms / 1e6, _copied_gb_s(setting.device)
    table = Table("One sequence of 8B, context 1,024", ["", "tok/s", "GB/s read", "GB/s copied", "share"])
    table.rows = [["engine", 1000 / step_ms, read_gb_s, copy_gb_s, read_gb_s / copy_gb_s]]
    return table


def _multiplied(shape: dict[str, int]) -> int:
    """Parameters that a token is multiplied by."""
    hidden, head = shape["hidden_size"], shape["head_dim"]
    heads = 2 * shape["num_attention_heads"] + 2 * shape["num_key_value_heads"]
    layer = hidden * (heads * head + 3 * shape["intermediate_size"])
    return shape["num_hidden_layers"] * layer + hidden * shape["vocab_size"]


def _copied_gb_s(device: torch.device) -> float:
    """Bytes read and written by a copy of 1 GB, over its time."""
    source = torch.empty(10**9 if device.type == "cuda" else 10**7, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best_s = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best_s = min(best_s, time.perf_counter() - started)
    return 2 * source.nbytes / best_s / 1e9
