"""The models of a neuron: which harness holds each, on which device, and how far a load has come."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from fleet.reports import ContextLimit, ModelReport
from inference.policies import DEFAULT_ADMISSION, DEFAULT_CONTEXT, AdmissionPolicy, ContextPolicy
from inference.worker.echo import EchoHarness
from inference.worker.harness import Harness, Publish

log = structlog.get_logger(__name__)


@dataclass
class _Entry:
    """One model: loading, loaded or failed. A failed one keeps the reason until it is tried again."""

    device: str
    harness: Harness | None = None
    status: Literal["loading", "loaded", "failed"] = "loading"
    progress: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class Models:
    """Loads and unloads, one order at a time per model. Harnesses are made at the first load that needs them."""

    def __init__(
        self,
        devices: Sequence[str],
        harnesses: Sequence[str],
        *,
        publish: Publish,
        cache: Path,
        admission: AdmissionPolicy = DEFAULT_ADMISSION,
        context: ContextPolicy = DEFAULT_CONTEXT,
    ) -> None:
        self._devices = list(devices)
        self._allowed = set(harnesses)
        self._publish = publish
        self._cache = cache
        self._admission, self._context = admission, context
        self._harnesses: dict[tuple[str, str], Harness] = {}
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    @property
    def harnesses(self) -> list[Harness]:
        return list(self._harnesses.values())

    def harness_of(self, model_id: str) -> Harness | None:
        entry = self._entries.get(model_id)
        return entry.harness if entry is not None and entry.status == "loaded" else None

    def load(self, model_id: str, *, source: str, harness: str) -> None:
        """Begin to load a model; reports tell how far it is and how it ended. A second order is ignored."""
        with self._lock:
            entry = self._entries.get(model_id)
            if entry is not None and entry.status != "failed":
                return
            device = min(self._devices, key=lambda name: sum(held.device == name for held in self._entries.values()))
            entry = self._entries[model_id] = _Entry(device)
        # A thread of its own: a load takes minutes, and neither the task pool nor a shutdown waits for it.
        thread = threading.Thread(target=self._load, args=(entry, model_id, source, harness), daemon=True)
        thread.start()

    def _load(self, entry: _Entry, model_id: str, source: str, harness: str) -> None:
        def note(text: str) -> None:
            entry.progress = text

        try:
            entry.harness = self._harness(harness, entry.device)
            facts = entry.harness.load(model_id, source, progress=note)
        except Exception as fault:
            log.exception("load_failed", model=model_id, source=source)
            entry.progress, entry.status = str(fault) or type(fault).__name__, "failed"
            return
        entry.facts = msgspec.to_builtins(facts)
        entry.progress, entry.status = "", "loaded"
        log.info("model_loaded", model=model_id, device=entry.device, **entry.facts)

    def unload(self, model_id: str) -> None:
        with self._lock:
            entry = self._entries.get(model_id)
            if entry is None or entry.status == "loading":
                return
            del self._entries[model_id]
        if entry.status == "loaded" and entry.harness is not None:
            entry.harness.unload(model_id)
            log.info("model_unloaded", model=model_id)

    def reports(self) -> list[ModelReport]:
        """How every model is. A model that its harness lost (a device was rebuilt) counts as failed."""
        work = {status.id: status for harness in self.harnesses for status in harness.models()}
        reports = []
        for model_id, entry in list(self._entries.items()):
            status = work.get(model_id)
            if entry.status == "loaded" and status is None:
                entry.status, entry.progress = "failed", "its device was rebuilt"
            reports.append(
                ModelReport(
                    id=model_id,
                    status=entry.status,
                    device=entry.device,
                    in_flight=status.in_flight if status else 0,
                    queue_depth=status.queue_depth if status else 0,
                    progress=entry.progress,
                    facts=entry.facts,
                    limit=msgspec.convert(status.limit, ContextLimit, from_attributes=True)
                    if status and status.limit
                    else None,
                )
            )
        return reports

    def close(self) -> None:
        for harness in self.harnesses:
            harness.close()

    def _harness(self, kind: str, device: str) -> Harness:
        if kind not in self._allowed:
            raise ValueError(f"this neuron has no harness `{kind}`, only {', '.join(sorted(self._allowed))}")
        with self._lock:
            if (kind, device) not in self._harnesses:
                self._harnesses[kind, device] = self._make(kind, device)
            return self._harnesses[kind, device]

    def _make(self, kind: str, device: str) -> Harness:
        if kind == "echo":
            return EchoHarness(self._publish)
        from inference.engine import Engine  # torch: only where a model is really run

        return Engine(
            device, publish=self._publish, cache=self._cache, admission=self._admission, context=self._context
        )
