"""How much memory a device has left. Of a GPU asked on the owner thread only."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

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
