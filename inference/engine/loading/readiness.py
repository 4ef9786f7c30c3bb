"""From a folder to a runner that has computed a token, or the reason why this engine does not serve the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PretrainedConfig, PreTrainedModel

from inference.engine.attention.attention import UnsupportedAttentionError
from inference.engine.attention.attention_probe import attention_for
from inference.engine.device.cuda_recording import CudaRecord
from inference.engine.device.device_memory import free_bytes
from inference.engine.device.owner import is_device_fault
from inference.engine.facts import maximum_context_tokens
from inference.engine.limits.limits import pool_bytes
from inference.engine.limits.pace import MOST_TOKENS
from inference.engine.loading import weights
from inference.engine.loading.comparison import compare
from inference.engine.loading.trial import UnusualNetworkError, try_out
from inference.engine.memory.blocks import BLOCK_TOKENS
from inference.engine.memory.key_values import bytes_per_token
from inference.engine.network.fusion import is_fused
from inference.engine.network.paged_runner import PagedRunner
from inference.engine.network.runner import Runner
from inference.engine.progress import LoadError, Progress, silent
from inference.policies import DEFAULT_CONTEXT, ContextPolicy

#: Whose factors are the same for every position up to the model's maximum (dynamic ones begin to change after it), and
#: those that `LongRope` picks for each sequence.
_ROPE_TYPES = {"default", "linear", "llama3", "yarn", "dynamic", "longrope"}
_LAYER_TYPES = {"full_attention", "sliding_attention"}


class Ready(NamedTuple):
    """What a load has made; `parameters` and `quant` are those of `Weights`.

    `prefill_rate` is how many tokens of a prompt were read per second when it was tried out.
    """

    runner: Runner
    parameters: int
    quant: str
    prefill_rate: float


def ready_runner(
    folder: Path,
    device: torch.device,
    *,
    context: ContextPolicy = DEFAULT_CONTEXT,
    kv_tokens: int | None,
    places: int,
    progress: Progress = silent,
    quant: str | None = None,
) -> Ready:
    """Load the folder's weights and set memory aside for `places` sequences; `kv_tokens` for all of them, or derived.

    Runs on the device's owner thread. Raises LoadError with a sentence for whoever asked.
    """
    network, parameters, held_in = weights.read_network(folder, device, progress=progress, quant=quant)
    architecture = type(network).__name__
    if reason := reason_against(network.config):
        raise LoadError(f"{folder.name} cannot be served: {reason}.")
    with _refusing(folder, architecture):
        tokens = _kv_tokens(network, places, context) if kv_tokens is None else kv_tokens
        if tokens < BLOCK_TOKENS:
            raise LoadError(f"No memory of {device} is left for the context of {folder.name}: unload another model.")
        runner = _runner(network, tokens, places)
        trial = try_out(runner, most_tokens=maximum_context_tokens(network.config))
        if not is_fused(network):
            compare(runner)
    return Ready(runner, parameters, held_in, trial.prefill_rate)


def reason_against(config: PretrainedConfig) -> str | None:
    """Why a configuration is not served, as the rest of a sentence; None for one that may be."""
    text = config.get_text_config(decoder=True)
    if other := {str(kind) for kind in getattr(text, "layer_types", None) or []} - _LAYER_TYPES:
        return f"its layers of type {', '.join(sorted(other))} are not supported"
    parameters = getattr(text, "rope_parameters", None) or {}
    by_layer_type = [each for each in parameters.values() if isinstance(each, dict)]
    rope_types = {str(each.get("rope_type", "default")) for each in by_layer_type or [parameters]}
    if other := rope_types - (_ROPE_TYPES - {"longrope"} if by_layer_type else _ROPE_TYPES):
        return f"positions of type {', '.join(sorted(other))} are not supported"
    return None


def _runner(network: PreTrainedModel, tokens: int, places: int) -> Runner:
    if network.device.type != "cuda":
        return Runner(network, tokens, lanes=places)
    attention = attention_for(network.config, network.dtype, network.device)
    return PagedRunner(network, tokens, lanes=places, attention=attention, record=CudaRecord())


def _kv_tokens(network: PreTrainedModel, places: int, context: ContextPolicy) -> int:
    """What the memory holds that is the pool's (MISSION N14), and no more than could ever be in use."""
    most = places * maximum_context_tokens(network.config)
    if network.device.type == "cuda":
        peak_bytes = _peak_bytes(network, places)
        memory = pool_bytes(context, free_bytes=free_bytes(network.device), peak_bytes=peak_bytes)
    else:
        memory = int(context.cpu_share * free_bytes(network.device))
    return min(most, memory // bytes_per_token(network.config, network.dtype.itemsize))


def _peak_bytes(network: PreTrainedModel, places: int) -> int:
    """What the largest step takes, measured on a pool of that size, which is dropped."""
    tokens = min(MOST_TOKENS, maximum_context_tokens(network.config))
    return try_out(_runner(network, tokens, places), most_tokens=tokens).peak_bytes


@contextmanager
def _refusing(folder: Path, architecture: str) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, OSError) as fault:
        raise LoadError(f"There is no memory left for the context of {folder.name}: unload another model.") from fault
    except (UnsupportedAttentionError, UnusualNetworkError) as fault:
        raise LoadError(f"{folder.name} cannot be served: {fault}.") from fault
    except LoadError:
        raise
    except Exception as fault:
        if is_device_fault(fault):
            raise
        raise LoadError(f"{folder.name} loads but does not run: {architecture} is not supported.") from fault
