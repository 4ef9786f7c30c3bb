"""`python -m inference.engine.bench`: see `--help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import torch
from transformers.utils import logging

from inference.engine.bench import batch, cuda, demo, steps
from inference.engine.bench.report import Part, Setting

_PARTS: dict[str, Part] = {"batch": batch.run, "steps": steps.run, "demo": demo.run}
_CUDA_PARTS: dict[str, Part] = {"offline": cuda.offline, "single": cuda.single}
_HELP = """\
parts:
  batch    16 requests of mixed lengths through the whole engine, beside transformers one by one, padded and in
           continuous batches, and beside the bare multiplications of the same steps
  steps    the time of a step against the number of sequences and against their context
  demo     the demo model at one sequence beside transformers; needs the extra `demo`
  offline  256 requests of Qwen3-0.6B's shape, as nano-vllm measures itself (a GPU's work)
  single   decoding one sequence of Qwen3-8B's shape, as a share of the speed of a copy (a GPU's work)

Measure on a machine that does nothing else: with more threads than free cores every figure is worthless."""


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    rounds = 1 if options.quick else options.rounds
    setting = Setting(torch.device(options.device), rounds, quick=options.quick)
    tables = {}
    for name in options.parts or _default_parts(options):
        tables[name] = (_PARTS | _CUDA_PARTS)[name](setting)
        if not options.json:
            print(tables[name].text(), flush=True)
    if options.json:
        result: dict[str, Any] = {"threads": torch.get_num_threads()}
        for name, table in tables.items():
            result |= table.headline | {name: table.data()}
        print(json.dumps(result))
    return 0


def _default_parts(options: argparse.Namespace) -> list[str]:
    parts = ["batch", "steps"]
    parts += ["demo"] if options.demo and demo.available() else []
    return [*parts, *_CUDA_PARTS] if options.device.startswith("cuda") else parts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference.engine.bench",
        description="Measure the engine beside others that do the same work in the same run.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, *_CUDA_PARTS], help="which parts; else what suits")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--rounds", type=int, default=3, help="everybody's best of so many turns (default: 3)")
    parser.add_argument("--threads", type=int, help="of torch on a CPU (default: torch's own choice)")
    parser.add_argument("--demo", action="store_true", help="the demo model as well, if it is installed")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run? the figures mean nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
