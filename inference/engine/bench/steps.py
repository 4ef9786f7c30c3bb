"""What a step of decoding costs, by the number of sequences and by what they have read."""

from __future__ import annotations

import time

import torch

from inference.engine.bench.report import Setting, Table
from inference.engine.bench.shapes import SMALL, TINY, random_runner
from inference.engine.memory.blocks import BlockTable
from inference.engine.network.runner import Part, Runner

_BY_SEQUENCES = [(count, 1024) for count in (1, 2, 4, 8, 16, 32, 64)]
_BY_CONTEXT = [(count, tokens) for count in (1, 4) for tokens in (1024, 2048, 4096, 8192, 16384)]
_STEPS = 10


def run(setting: Setting) -> Table:
    """Milliseconds, the least of some steps; keys and values are made up."""
    table = Table("A step of decoding", ["sequences", "context", "ms", "ms per sequence"])
    cases = [(1, 32), (2, 32)] if setting.quick else [*_BY_SEQUENCES, *_BY_CONTEXT[1:]]
    for count, context in dict.fromkeys(cases):
        room = count * (context + 64)
        runner = random_runner(TINY if setting.quick else SMALL, setting.device, tokens=room, lanes=count)
        step_ms = least_step_ms(runner, count, context, steps=_STEPS * setting.rounds)
        table.rows.append([count, context, step_ms, step_ms / count])
    return table


def least_step_ms(runner: Runner, count: int, context: int, *, steps: int) -> float:
    """One token of each of `count` sequences behind `context` others, logits included, again and again."""
    for pool in (runner.key_values.keys, runner.key_values.values):
        pool.normal_()
    parts = []
    for _ in range(count):
        table = BlockTable(runner.pool)
        table.reserve(0, context + 1)
        parts.append(Part([1], context, table, wanted=True))
    return 1000 * min(_seconds(runner, parts) for _ in range(steps + 1))


def _seconds(runner: Runner, parts: list[Part]) -> float:
    device = runner.network.device
    started = time.perf_counter()
    runner.run(parts)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
