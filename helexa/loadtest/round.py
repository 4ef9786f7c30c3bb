"""One round of a load test: what its connections share, and the figures that come of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from time import perf_counter

import msgspec

from helexa.loadtest.connection import Answer

#: Different faults that are told apart; a server that puts an id into each would fill the memory otherwise.
DISTINCT_FAULTS = 20


class Whole(msgspec.Struct, frozen=True):
    """Figures of whole answers; a time is None where no answer ended within the round."""

    per_second: float
    p50_ms: float | None
    p99_ms: float | None


class Stream(msgspec.Struct, frozen=True):
    """Figures of streams. The first token is the first byte that has content, not the headers."""

    per_second: float
    first_token_p50_ms: float | None
    first_token_p99_ms: float | None
    p50_ms: float | None
    p99_ms: float | None


class Round:
    """Begins when it is made. What ends after `until_s` is checked and not counted."""

    def __init__(self, request: bytes, *, stream: bool, seconds: float) -> None:
        self.request = request
        self.stream = stream
        self.seconds = seconds
        self.until_s = perf_counter() + seconds
        self.answered = 0
        self.faults: Counter[str] = Counter()
        self._whole_s: list[float] = []
        self._first_s: list[float] = []

    def take(self, answer: Answer) -> None:
        """Count a right answer, if it ended in time."""
        self.answered += 1
        if answer.ended_s < self.until_s:
            self._whole_s.append(answer.ended_s - answer.asked_s)
            self._first_s.append(answer.first_s - answer.asked_s)

    def note(self, fault: str) -> None:
        self.faults[fault if fault in self.faults or len(self.faults) < DISTINCT_FAULTS else "other faults"] += 1

    @property
    def per_second(self) -> float:
        return round(len(self._whole_s) / self.seconds, 1)

    def whole_figures(self) -> Whole:
        whole_s = sorted(self._whole_s)
        return Whole(self.per_second, percentile_ms(whole_s, 0.5), percentile_ms(whole_s, 0.99))

    def stream_figures(self) -> Stream:
        first_s, whole_s = sorted(self._first_s), sorted(self._whole_s)
        return Stream(
            per_second=self.per_second,
            first_token_p50_ms=percentile_ms(first_s, 0.5),
            first_token_p99_ms=percentile_ms(first_s, 0.99),
            p50_ms=percentile_ms(whole_s, 0.5),
            p99_ms=percentile_ms(whole_s, 0.99),
        )


def percentile_ms(ordered_s: Sequence[float], share: float) -> float | None:
    """The smallest of the times that at least this share of them does not exceed."""
    if not ordered_s:
        return None
    return round(ordered_s[math.ceil(share * len(ordered_s)) - 1] * 1000, 2)
