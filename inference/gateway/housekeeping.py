"""Periodic work of the gateways, one at a time: what neurons report, pinned models, orphaned reservations, warnings.

A thread of its own with Django's ORM: none of it is on a request's path, and a thread keeps it off the event loop.
"""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import structlog
from django.db import Error, connection
from django.utils import timezone
from redis.exceptions import RedisError

from accounts.retention import prune_request_records
from accounts.rollups import sum_up_days
from accounts.warnings import announce_warnings, deliver_due
from fleet.lifecycle import PinnedLoads
from fleet.registry import write_down
from inference.gateway.fleet_view import FleetView
from inference.gateway.reaper import Reaper
from inference.gateway.responses.retention import prune_responses

log = structlog.get_logger(__name__)

PERIOD_S = 1.0
SLOW_PERIOD_S = 60.0
#: Any number, the same in every gateway: who holds this advisory lock does the work.
ADVISORY_LOCK = 7_465_078
#: PostgreSQL ends the session, and with it the lock, of a gateway that says nothing for so long.
LOCK_IDLE_LIMIT = "5s"


class Housekeeping:
    def __init__(self, fleet: FleetView, *, redis_url: str, retention_days: int) -> None:
        self._fleet = fleet
        self._pinned_loads = PinnedLoads()
        self._reaper = Reaper(redis_url)
        self._retention_days = retention_days
        self._slow_work_due_s = 0.0
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
            except (Error, RedisError) as fault:
                self._step_down()
                log.debug("housekeeping_waits", reason=str(fault))
            except Exception:
                log.exception("housekeeping_fault")
        self._step_down()
        self._reaper.close()

    def _leads_or_can_lead(self) -> bool:
        """Whether this gateway holds the lock: it lives exactly as long as this thread's connection."""
        if not self._leads:
            with connection.cursor() as cursor:
                # a gateway that was stopped, and not ended, must not keep the others from the work
                cursor.execute("SELECT set_config('idle_session_timeout', %s, false)", [LOCK_IDLE_LIMIT])
                cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", [LOCK_IDLE_LIMIT])
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
                self._leads = cursor.fetchone()[0]
        return self._leads

    def _step_down(self) -> None:
        self._leads = False
        self._reaper.forgive()
        connection.close()

    def _work(self) -> None:
        reports = self._fleet.reports
        healthy = [report for report in reports if self._fleet.is_healthy(report.name)]
        write_down(reports, healthy={report.name for report in healthy})
        self._pinned_loads.send_missing(healthy)
        self._reaper.work(healthy)
        announce_warnings()
        deliver_due(timezone.now())
        self._work_slowly()

    def _work_slowly(self) -> None:
        """What nobody waits for: sums of days that are over, and records that are too old."""
        now_s = time.monotonic()
        if now_s >= self._slow_work_due_s:
            self._slow_work_due_s = now_s + SLOW_PERIOD_S
            sum_up_days(timezone.now())
            prune_request_records(timezone.now() - timedelta(days=self._retention_days))
            prune_responses(timezone.now())
