"""How many requests a model takes on, for how long one waits, and the memory that it takes (MISSION N13, N15)."""

from __future__ import annotations

from collections.abc import Collection

import torch

from inference.engine.device.device_memory import free_bytes
from inference.engine.model import LoadedModel
from inference.engine.requests.generation import Generation
from inference.events import Failed
from inference.policies import AdmissionPolicy
from inference.requests import GenerationRequest

OVERDUE = "The request did not end within its time limit."

_LONGEST_RETRY_AFTER_S = 120
_MIB = 1024 * 1024
#: What a GPU has to have free for a prompt to be read, where the operator says nothing (MISSION N15).
_GPU_FLOOR_MB = 1500


def refusal(policy: AdmissionPolicy, generation: Generation, here: Collection[Generation]) -> Failed | None:
    """Why a request is turned away, given those of its model that are `here` and not over; None for one that may wait.

    A key over its share is told before a full queue: whoever else comes next may still be taken.
    """
    of_key = sum((one.account, one.key) == (generation.account, generation.key) for one in here)
    if generation.key is not None and 0 < policy.max_per_principal <= of_key:
        return Failed(
            "rate_limit_exceeded",
            f"{of_key} requests of this key are running or waiting already, and {policy.max_per_principal} may.",
            {"model_id": generation.model.id},
            retry_after_s=2,
            status=429,
        )
    waiting = len(here) - policy.max_in_flight
    return None if waiting < policy.max_queue_depth else _full(generation.model.id, waiting)


def count_refusal(policy: AdmissionPolicy, model_id: str, waiting: int) -> Failed | None:
    """The same for a request that only has its prompt counted, where so many wait before it to be looked at."""
    return None if waiting < policy.max_queue_depth else _full(model_id, waiting)


def late(
    policy: AdmissionPolicy, request: GenerationRequest, waited_s: float, here: Collection[Generation]
) -> Failed | None:
    """The end of a request whose time was over before it was looked at, if it was.

    Those of its account before it came earlier, so whoever is late is told so after one of them at most.
    """
    if request.timeout_s is not None and request.timeout_s <= waited_s:
        return Failed(None, OVERDUE)
    return waited_too_long(policy, request.model, here) if policy.max_wait_s <= waited_s else None


def waited_too_long(policy: AdmissionPolicy, model_id: str, here: Collection[Generation]) -> Failed:
    """The end of a request that did not begin in time."""
    return Failed(
        "rate_limit_exceeded",
        f"The request waited {policy.max_wait_s:g} s for its turn; too much is going on.",
        {"model_id": model_id},
        retry_after_s=_retry_after_s(len(here) - policy.max_in_flight),
        status=503,
    )


def without_memory(policy: AdmissionPolicy, model: LoadedModel, device: torch.device) -> Failed | None:
    """Why no prompt is read now, before the device is touched; None where there is memory. What the pool has counts."""
    required_mb = policy.min_free_mb
    if required_mb is None:
        required_mb = _GPU_FLOOR_MB if device.type == "cuda" else 0
    if required_mb <= 0:
        return None
    free_mb = (free_bytes(device) + model.runner.free_bytes) // _MIB
    if free_mb >= required_mb:
        return None
    return Failed(
        "insufficient_vram",
        f"{free_mb} MiB of the device's memory are free, and {required_mb} are needed to read a prompt.",
        {"free_mb": free_mb, "required_mb": required_mb, "model_id": model.id},
        retry_after_s=5,
    )


def _full(model_id: str, waiting: int) -> Failed:
    return Failed(
        "rate_limit_exceeded",
        f"{waiting} requests wait for this model already.",
        {"model_id": model_id, "waiting": waiting},
        retry_after_s=_retry_after_s(waiting),
        status=503,
    )


def _retry_after_s(waiting: int) -> int:
    return max(1, min(_LONGEST_RETRY_AFTER_S, 2 * (max(0, waiting) + 1)))
