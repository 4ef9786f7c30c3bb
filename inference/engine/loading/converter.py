"""The process that unpacks one GGUF file: `python -m inference.engine.loading.converter FILE FOLDER`.

Prints the reason if it cannot, as one sentence. Ends when its standard input does, so it never outlives its parent.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from inference.engine.progress import first_sentence, is_disk_full


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # standard error goes to a log
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    loader: Any = AutoModelForCausalLM
    network, report = loader.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
        output_loading_info=True,
    )
    if report["missing_keys"]:  # transformers has filled them with random numbers
        raise ValueError(f"it lacks {len(report['missing_keys'])} of the weights")
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _reason(file: Path, folder: Path, fault: Exception) -> str:
    if is_disk_full(fault):
        return f"There is not enough disk in {folder.parent} for the converted weights: make room there."
    return f"{file.name} cannot be converted ({first_sentence(fault)}): give a safetensors folder instead."


def _exit_with_the_parent() -> None:
    def wait() -> None:
        os.read(0, 1)  # nothing is ever written, so this returns when the pipe's other end is gone
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(file: Path, folder: Path) -> int:
    _exit_with_the_parent()
    try:
        _convert(file, folder)
    except Exception as fault:
        print(_reason(file, folder, fault))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
