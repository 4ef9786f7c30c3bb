"""How much memory a device has left. Of a GPU asked on the owner thread only."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from inference.engine.model import LoadedModel
from inference.events import Failed
from inference.policies import AdmissionPolicy

_MIB = 1024 * 1024
#: What a GPU has to have free for a prompt to be read, where the operator says nothing (MISSION N15).
_GPU_FLOOR_MB = 1500
#: Where the kernel tells the memory of a container, and its bound (cgroup v2).
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Free and not bound to anything, what torch keeps for later included; of a CPU, within the container's bound."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return min(psutil.virtual_memory().available, _left_in_container())


def _left_in_container() -> int:
    """Bytes; very many where there is no container, or none with a bound."""
    try:
        most, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return max(0, int(most) - int(used))
    except (OSError, ValueError):  # not there, or "max"
        return 1 << 62


def refusal(policy: AdmissionPolicy, model: LoadedModel, device: torch.device) -> Failed | None:
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
