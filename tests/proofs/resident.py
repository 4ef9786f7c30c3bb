"""Resident memory of processes while requests go through them, and how much of each request they keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psutil


class Point(NamedTuple):
    """Resident memory when so many requests had ended."""

    requests: int
    kib: float


def kib_per_request(points: Sequence[Point]) -> float:
    """The slope of the line that lies nearest to the points."""
    mean_requests, mean_kib = (sum(of) / len(points) for of in zip(*points, strict=True))
    spread = sum((point.requests - mean_requests) ** 2 for point in points)
    return sum((point.requests - mean_requests) * (point.kib - mean_kib) for point in points) / spread


class Resident:
    """The memory of each of some processes, by their names. One that falls does not hide another that grows."""

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        self._processes = dict(processes)
        self._points: dict[str, list[Point]] = {name: [] for name in processes}

    def look(self, requests: int) -> None:
        """Note what each has after so many requests. Raises psutil.NoSuchProcess for one that died."""
        for name, process in self._processes.items():
            self._points[name].append(Point(requests, process.memory_info().rss / 1024))

    def growth(self, *, after: int) -> dict[str, float]:
        """KiB per request from `after` requests on, by name; needs two looks since then."""
        return {
            name: kib_per_request([point for point in points if point.requests >= after])
            for name, points in self._points.items()
        }

    def __str__(self) -> str:
        """In MiB, at the first look and at the last."""
        return ", ".join(
            f"{name} {points[0].kib / 1024:.0f} -> {points[-1].kib / 1024:.0f}" for name, points in self._points.items()
        )
