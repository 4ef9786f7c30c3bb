"""From a folder to a network on a device, and to its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from inference.engine import attention
from inference.engine.loading import LoadError, first_sentence

#: On two CPU threads the demo model (Gemma 3 270M) decodes 19 tokens/s in bfloat16 and 10 in float32.
DTYPE = torch.bfloat16


def read_network(folder: Path, device: torch.device) -> PreTrainedModel:
    """The weights on the device, ready to compute. Runs on the device's owner thread: see `conversion` for why."""
    loader: Any = AutoModelForCausalLM
    logging: Any = transformers_logging
    logging.disable_progress_bar()  # progress is told in sentences, not drawn on stderr
    try:
        network, report = loader.from_pretrained(
            folder,
            dtype=DTYPE,
            device_map={"": device},
            attn_implementation=attention.NAME,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except torch.OutOfMemoryError as fault:
        raise LoadError(f"{folder.name} does not fit into the memory of {device}: unload another model.") from fault
    except torch.AcceleratorError:
        raise
    except Exception as fault:
        raise LoadError(f"{folder.name} cannot be loaded ({first_sentence(fault)}).") from fault
    # transformers would fill these with random numbers.
    if missing := sorted(report["missing_keys"]):
        raise LoadError(f"{folder} lacks {len(missing)} weights, {missing[0]} among them: fetch the model again.")
    return cast(PreTrainedModel, network.eval())


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as fault:
        raise LoadError(f"The tokenizer of {folder.name} cannot be loaded ({first_sentence(fault)}).") from fault
    if not tokenizer.is_fast:
        raise LoadError(f"{folder} holds no tokenizer.json: save its tokenizer in that format first.")
    return tokenizer
