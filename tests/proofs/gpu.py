"""`make proof-gpu`: everything about the engine that only a GPU can show, on the one that is here.

    python -m tests.proofs.gpu

Runs the tests that need one, times each attention over pages, and runs the engine's bench; what it prints is for the
tables of docs/engine.md. Without a GPU it says so and fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch

from inference.engine.attention.attention_probe import Shape, chosen, passing
from inference.engine.attention.paged_attention import GatheredAttention, PagedAttention, Reads
from inference.engine.attention.triton_attention import TritonAttention
from inference.engine.attention.varlen_attention import VarlenAttention
from inference.engine.memory.blocks import BLOCK_TOKENS

NO_GPU = 2
TESTS = [
    "tests/engine/test_cuda.py",
    "tests/engine/attention/test_paged_attention.py",
    "tests/engine/network/test_paged_runner.py",
]
#: Heads of models that people serve.
SHAPES = {
    "Qwen3 0.6B": (16, 8, 128),
    "Llama 3.1 8B": (32, 8, 128),
    "Gemma 3 1B": (4, 1, 256),
    "Phi 3 mini": (32, 32, 96),
}


class Load(NamedTuple):
    """So many sequences, each with so many rows behind so many tokens."""

    sequences: int
    rows: int
    tokens: int

    def __str__(self) -> str:
        what = "decode" if self.rows == 1 else f"read {self.rows} tokens"
        return f"{self.sequences} {what} at {self.tokens}"


LOADS = [
    Load(1, 1, 1024),
    Load(1, 1, 16384),
    Load(32, 1, 1024),
    Load(64, 1, 4096),
    Load(1, 512, 4096),
    Load(4, 128, 1024),
]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make proof-gpu", description="Show what only a GPU can show.")
    parser.add_argument("--no-tests", action="store_true", help="figures only")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("No CUDA device is here, or torch is a build without CUDA: nothing was shown.", file=sys.stderr)
        return NO_GPU
    device = torch.device("cuda", 0)
    properties = torch.cuda.get_device_properties(device)
    print(f"{properties.name}, {properties.total_memory >> 30} GiB, torch {torch.__version__}")
    failed = 0 if options.no_tests else run("-m", "pytest", "-rs", *TESTS)
    show_attention(device)
    return failed or run("-m", "inference.engine.bench", "--device", str(device))


def run(*command: str) -> int:
    """A Python of our own version, its output shown as it comes; Triton compiles for the device."""
    print(f"\n$ python {' '.join(command)}", flush=True)
    return subprocess.run(
        [sys.executable, *command], env={**os.environ, "TRITON_INTERPRET": "0"}, check=False
    ).returncode


def show_attention(device: torch.device) -> None:
    """Microseconds of one layer, by load and implementation; a dash where the probe refuses it."""
    programs = 2 * torch.cuda.get_device_properties(device).multi_processor_count
    triton = partial(TritonAttention, programs=programs, page_tokens=BLOCK_TOKENS)
    makes: dict[str, Callable[[], PagedAttention]] = {
        "varlen": VarlenAttention,
        "triton": triton,
        "gathered": GatheredAttention,
    }
    for name, (heads, kv_heads, width) in SHAPES.items():
        shape = Shape(heads, kv_heads, width, torch.bfloat16, device)
        print(f"\n{name}, bfloat16: {chosen(shape).name}\n")
        print(f"| us a layer | {' | '.join(makes)} |\n|---|{'---|' * len(makes)}")
        working = [passing(make, shape) for make in makes.values()]
        for load in LOADS:
            times = ["-" if one is None else f"{microseconds(one, shape, load):.0f}" for one in working]
            print(f"| {load} | {' | '.join(times)} |")


def microseconds(attention: PagedAttention, shape: Shape, load: Load, *, repeats: int = 20) -> float:
    """The mean of one call as the device sees it, the pages of the sequences scattered."""
    pages = -(-load.tokens // attention.page_tokens)

    def ints(numbers: Sequence[int]) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.int32, device=shape.device)

    def numbers(*sides: int) -> torch.Tensor:
        return torch.randn(sides, dtype=shape.dtype, device=shape.device)

    rows, lengths = [load.rows] * load.sequences, [load.tokens] * load.sequences
    tables = torch.randperm(pages * load.sequences, device=shape.device).to(torch.int32).view(load.sequences, pages)
    starts = range(0, sum(rows) + 1, load.rows)
    reads = Reads(0, sum(rows), rows, lengths, ints(starts), ints(lengths), tables)
    query = numbers(sum(rows), shape.heads, shape.width)
    keys, values = numbers(2, tables.numel(), attention.page_tokens, shape.kv_heads, shape.width)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for repeat in range(repeats + 3):
        if repeat == 3:  # compiled and warm by now
            begin.record()
        attention.attend(query, keys, values, reads, scaling=shape.width**-0.5, window=None)
    end.record()
    end.synchronize()
    return 1000 * begin.elapsed_time(end) / repeats


if __name__ == "__main__":
    sys.exit(main())
