"""What a neuron asks of whatever runs its models: the torch engine, or the echo for load tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from inference.events import Event
from inference.requests import GenerationRequest

Publish = Callable[[Sequence[tuple[str, Event]]], None]


class Load(Protocol):
    """A model's part in a report: what it has to do, and how much it takes: a `fleet.reports.ContextLimit`, or None."""

    @property
    def id(self) -> str: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def queue_depth(self) -> int: ...
    @property
    def limit(self) -> Any: ...


class Harness(Protocol):
    """`load` blocks and says what it is doing; `submit` and `cancel` return at once; events come through Publish."""

    def load(self, model_id: str, source: str, *, progress: Callable[[str], None]) -> Any: ...
    def unload(self, model_id: str) -> None: ...
    def submit(self, request: GenerationRequest) -> None: ...
    def cancel(self, request_id: str) -> bool: ...
    def models(self) -> Sequence[Load]: ...
    def close(self) -> None: ...
