"""A batch of 16 requests through the whole engine, beside transformers and the bare multiplications."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from inference.engine.bench import peers
from inference.engine.bench.report import Setting, Table
from inference.engine.bench.shapes import SMALL, TINY, save_random_model
from inference.engine.bench.workload import Served, Workload, mixed

#: One by one takes minutes for all of them, and as long for each.
_ALONE = 4


def run(setting: Setting) -> Table:
    """Output tokens over the whole time, the best of the rounds; in each round everybody has a turn."""
    shape = TINY if setting.quick else SMALL
    lengths = {"prompt": (4, 16), "output": (4, 8)} if setting.quick else {"prompt": (32, 256), "output": (64, 256)}
    work = mixed(16, vocabulary=shape["vocab_size"], **lengths)
    alone = Workload(work.prompts[:_ALONE], work.outputs[:_ALONE])
    table = Table(
        f"{len(work.prompts)} requests, {sum(map(len, work.prompts))} tokens in, {work.output_tokens} out, greedy",
        ["", "tok/s", "engine is"],
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = save_random_model(shape, Path(temporary))
        served = Served(str(folder), str(setting.device))
        network = peers.load(folder, setting.device)
        of: dict[str, tuple[Workload, Callable[[], float]]] = {
            "engine": (work, lambda: served.seconds(work)),
            "generate, one by one": (alone, lambda: peers.one_by_one(network, alone)),
            "generate, padded": (work, lambda: peers.padded(network, work)),
            "generate_batch": (work, lambda: peers.continuous(network, work, told=False)),
            "generate_batch, told its size": (work, lambda: peers.continuous(network, work, told=True)),
            "multiplications alone": (work, lambda: peers.multiplications(network, work)),
        }
        if setting.quick:
            del of["generate_batch"]  # it takes half a minute to clear the memory that it takes
        try:
            best = dict.fromkeys(of, 0.0)
            for _ in range(setting.rounds):
                for name, (done, seconds) in of.items():
                    best[name] = max(best[name], done.output_tokens / seconds())
        finally:
            served.close()
    table.rows = [[name, rate, best["engine"] / rate] for name, rate in best.items()]
    continuous = best.get("generate_batch", best["generate_batch, told its size"])
    table.headline = {
        "x_generate_batch": best["engine"] / continuous,
        "x_padded": best["engine"] / best["generate, padded"],
        "share_of_limit": best["engine"] / best["multiplications alone"],
        "peers": {name: rate for name, rate in best.items() if name != "engine"},
    }
    table.notes = [
        f"one by one: the first {_ALONE} requests; generate_batch: every answer of the mean length",
        "multiplications: torch's linear on the weights of the same steps, which the engine keeps in a faster order",
    ]
    return table
