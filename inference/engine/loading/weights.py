"""From a folder to a network on a device, and to its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers.models import BPE, Model, Unigram
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from inference.engine.attention import attention
from inference.engine.network.fusion import fuse
from inference.engine.progress import LoadError, Progress, first_sentence, silent

#: On a CPU as well: half as much to read for each token, and oneDNN multiplies it faster than float32.
DTYPE = torch.bfloat16


class Weights(NamedTuple):
    """A network on its device; `parameters` are those that it was trained with, `quant` how some are rounded."""

    network: PreTrainedModel
    parameters: int
    quant: str


def read_network(
    folder: Path, device: torch.device, *, progress: Progress = silent, quant: str | None = None
) -> Weights:
    """The weights on the device, ready to compute. Runs on the device's owner thread: see `conversion` for why.

    They are mapped into memory and brought to the device a layer at a time, so that no second copy is held.
    """
    loader: Any = AutoModelForCausalLM
    logging: Any = transformers_logging
    logging.disable_progress_bar()  # progress is told in sentences, not drawn on stderr
    try:
        network, report = loader.from_pretrained(
            folder,
            dtype=DTYPE,
            attn_implementation=attention.NAME,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        parameters = network.num_parameters()
        # transformers would fill these with random numbers.
        if missing := sorted(report["missing_keys"]):
            raise LoadError(f"{folder} lacks {len(missing)} weights, {missing[0]} among them: fetch the model again.")
        if other := sorted(report["mismatched_keys"]):
            name, here, wanted = other[0]
            raise LoadError(
                f"{folder} has weights of other sizes than its config.json says, {name} among them: "
                f"{tuple(here)} instead of {tuple(wanted)}."
            )
        with torch.inference_mode():
            quant = fuse(network.eval(), device, progress=progress, quant=quant)
    except (torch.OutOfMemoryError, MemoryError) as fault:
        raise LoadError(f"{folder.name} does not fit into the memory of {device}: unload another model.") from fault
    except (torch.AcceleratorError, LoadError):
        raise
    except Exception as fault:
        if isinstance(fault, KeyError) and fault.args == (attention.NAME,):
            raise LoadError(f"{folder.name} cannot be served: its layers have an attention of their own.") from fault
        raise LoadError(f"{folder.name} cannot be loaded ({first_sentence(fault)}).") from fault
    return Weights(network, parameters, quant)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, which keeps nothing of what it reads. Raises LoadError."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as fault:
        raise LoadError(f"The tokenizer of {folder.name} cannot be loaded ({first_sentence(fault)}).") from fault
    if not tokenizer.is_fast:
        raise LoadError(f"{folder} holds no tokenizer.json: save its tokenizer in that format first.")
    _remember_no_words(tokenizer.backend_tokenizer.model)
    return tokenizer


def _remember_no_words(model: Model) -> None:
    """The first 10,000 words of all tenants would stay: up to 8 KB each, per thread, for as long as the process lives.

    They save 2 ms of a prompt of 4,000 tokens. Source: tokenizers pull request 2028.
    """
    if isinstance(model, BPE | Unigram):
        model._resize_cache(0)
