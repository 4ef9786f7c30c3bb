"""CUDA graphs for `decode_graphs`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

Result = TypeVar("Result")

#: What all recordings of a runner may take besides the memory that they share with each other.
_MOST_BYTES = 1 << 30


class CudaRecording(Generic[Result]):
    def __init__(self, graph: torch.cuda.CUDAGraph, result: Result) -> None:
        self._graph = graph
        self.result = result

    def replay(self) -> None:
        self._graph.replay()


class CudaRecord:
    """Records on the current device, all into one pool of memory: of two recordings only one ever runs."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._bytes = 0

    def __call__(self, compute: Callable[[], Result]) -> CudaRecording[Result]:
        if self._bytes > _MOST_BYTES:
            raise MemoryError(f"the recordings take {self._bytes >> 20} MiB already")
        # Handles, workspaces and Triton's kernels are made by the first call, which may not happen while recording.
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            compute()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.empty_cache()  # as the next lines do: what that gives back is no memory of the recording
        before = torch.cuda.memory_reserved()
        graph = torch.cuda.CUDAGraph()
        # What other threads do to the device is none of this recording's business.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = compute()
        self._bytes += max(0, torch.cuda.memory_reserved() - before)
        return CudaRecording(graph, result)
