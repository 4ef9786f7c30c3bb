"""Periodic work of the gateways, one at a time: writes down what neurons report and loads what is pinned.

A thread of its own with Django's ORM: none of it is on a request's path, and a thread keeps it off the event loop.
"""

from __future__ import annotations

import threading

import structlog
from django.db import Error, connection

from fleet.lifecycle import PinnedLoads
from fleet.registry import write_down
from inference.gateway.fleet_view import FleetView

log = structlog.get_logger(__name__)

PERIOD_S = 1.0
#: Any number, the same in every gateway: who holds this advisory lock does the work.
ADVISORY_LOCK = 7_465_078


class Housekeeping:
    def __init__(self, fleet: FleetView) -> None:
        self._fleet = fleet
        self._pinned_loads = PinnedLoads()
        self._leads = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=3)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            try:
                if self._leads_or_can_lead():
                    self._work()
            except Error as fault:
                self._step_down()
                log.debug("housekeeping_waits", reason=str(fault))
            except Exception:
                log.exception("housekeeping_fault")
        self._step_down()

    def _leads_or_can_lead(self) -> bool:
        """Whether this gateway holds the lock: it lives exactly as long as this thread's connection."""
        if not self._leads:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
                self._leads = cursor.fetchone()[0]
        return self._leads

    def _step_down(self) -> None:
        self._leads = False
        connection.close()

    def _work(self) -> None:
        reports = self._fleet.reports
        healthy = [report for report in reports if self._fleet.is_healthy(report.name)]
        write_down(reports, healthy={report.name for report in healthy})
        self._pinned_loads.send_missing(healthy)
