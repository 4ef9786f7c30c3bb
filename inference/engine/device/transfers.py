"""From the host to the device without waiting for it.

A plain copy to a CUDA device waits for all that is queued there. From pinned memory it is queued like a kernel, and the
allocator of pinned memory gives a buffer out again only when the copies from it are through.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def on_device(host: Tensor, device: torch.device) -> Tensor:
    """The tensor itself on a CPU, else a copy that is queued behind what the device has to do."""
    return host if device.type == "cpu" else host.pin_memory().to(device, non_blocking=True)


def integers(lists: Sequence[Iterable[int]], device: torch.device) -> list[Tensor]:
    """One int32 tensor on the device for each list, all from one copy."""
    packed, lengths = array("i"), []
    for numbers in lists:
        before = len(packed)
        packed.extend(numbers)
        lengths.append(len(packed) - before)
    if not packed:
        return [torch.empty(0, dtype=torch.int32, device=device) for _ in lists]
    return list(torch.split(on_device(torch.frombuffer(packed, dtype=torch.int32), device), lengths))
