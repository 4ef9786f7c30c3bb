"""What this gateway knows of the fleet: the newest report of every neuron, and when it came."""

from __future__ import annotations

import time

from fleet.catalogue import CatalogueEntry
from fleet.reports import SILENCE_LIMIT_S, NeuronReport


class FleetView:
    """Reports come from the relay, the catalogue from the database watch; requests and housekeeping read."""

    def __init__(self) -> None:
        self.catalogue: dict[str, CatalogueEntry] = {}
        self._reports: dict[str, NeuronReport] = {}
        self._heard_s: dict[str, float] = {}

    def hear(self, report: NeuronReport) -> None:
        if report.leaving:
            self._heard_s.pop(report.name, None)
        else:
            self._heard_s[report.name] = time.monotonic()
        self._reports[report.name] = report

    def forgive_silence(self) -> None:
        """Redis was away, so nobody could be heard: everyone who was healthy gets a full period of grace."""
        now_s = time.monotonic()
        for name in self._heard_s:
            self._heard_s[name] = now_s

    @property
    def reports(self) -> list[NeuronReport]:
        """The newest report of every neuron ever heard, healthy or not."""
        return list(self._reports.values())

    def is_healthy(self, name: str) -> bool:
        heard_s = self._heard_s.get(name)
        return heard_s is not None and time.monotonic() - heard_s < SILENCE_LIMIT_S

    @property
    def healthy(self) -> list[NeuronReport]:
        return [report for report in self._reports.values() if self.is_healthy(report.name)]

    @property
    def silent(self) -> list[str]:
        return [name for name in self._reports if not self.is_healthy(name)]
