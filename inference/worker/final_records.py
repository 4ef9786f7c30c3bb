"""What attempts on this neuron came to, kept until their gateway says that the settle has committed (DESIGN 3.6)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from inference.usage import Usage

#: Bounds on what is kept: a gateway acknowledges in milliseconds, and after an hour another one has settled.
MOST_RECORDS = 20_000
KEPT_S = 3600.0
#: A record that is acknowledged sooner than this is no news to anybody; reports list the older ones, oldest first.
UNSETTLED_AFTER_S = 5.0
MOST_REPORTED = 1000


class _Record(NamedTuple):
    kept_at_s: float
    usage: Usage


class FinalRecords:
    """Final counts by attempt id, oldest first. Safe to use from any thread. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def keep(self, attempt_id: str, usage: Usage) -> None:
        with self._lock:
            self._records[attempt_id] = _Record(self._clock(), usage)
            self._forget_old()

    def forget(self, attempt_ids: Iterable[str]) -> None:
        """Drop what was settled. An id without a record is no error."""
        with self._lock:
            for attempt_id in attempt_ids:
                self._records.pop(attempt_id, None)

    def unsettled(self) -> dict[str, tuple[int, int, int, int]]:
        """The usage of attempts that should have been settled by now, for the next report."""
        found: dict[str, tuple[int, int, int, int]] = {}
        with self._lock:
            self._forget_old()
            latest_s = self._clock() - UNSETTLED_AFTER_S
            for attempt_id, record in self._records.items():
                if record.kept_at_s > latest_s or len(found) == MOST_REPORTED:
                    break
                found[attempt_id] = record.usage
        return found

    def _forget_old(self) -> None:
        earliest_s = self._clock() - KEPT_S
        while self._records:
            oldest = next(iter(self._records.values()))
            if len(self._records) <= MOST_RECORDS and oldest.kept_at_s >= earliest_s:
                return
            self._records.popitem(last=False)
