"""A neuron: the process on a GPU host that holds models, works on what gateways send it, and says how it is."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from fleet.reports import (
    REPORT_PERIOD_S,
    REPORTS_KEPT,
    REPORTS_STREAM,
    NeuronReport,
    control_stream,
    encode_report,
)
from inference import wire
from inference.events import Failed
from inference.policies import DEFAULT_ADMISSION, DEFAULT_CONTEXT, AdmissionPolicy, ContextPolicy
from inference.worker.build import build
from inference.worker.discovery import Host
from inference.worker.heap import Heap
from inference.worker.lease import Lease
from inference.worker.models import Models
from inference.worker.publisher import Publisher

log = structlog.get_logger(__name__)

#: Cancels that outran their task are remembered for this many attempts.
CANCELS_REMEMBERED = 10_000


class Neuron:
    """`start` takes the name and begins to report; `run` of Celery feeds `take`; `stop` ends everything that runs."""

    def __init__(
        self,
        redis_url: str,
        *,
        name: str,
        devices: Sequence[str],
        harnesses: Sequence[str],
        model_cache: Path,
        admission: AdmissionPolicy = DEFAULT_ADMISSION,
        context: ContextPolicy = DEFAULT_CONTEXT,
    ) -> None:
        self.name = name
        self.boot_id = secrets.token_hex(8)
        self._redis = redis.Redis.from_url(
            redis_url, socket_connect_timeout=2, socket_timeout=5, retry=Retry(NoBackoff(), 0), protocol=2
        )
        self._started_at_s = time.time()
        self._lease = Lease(self._redis, name=name, boot_id=self.boot_id)
        self._host = Host(list(devices))
        self._publisher = Publisher(self._redis, on_outage=self._cancel_all)
        self.models = Models(
            devices,
            harnesses,
            publish=self._publisher.publish,
            cache=model_cache,
            admission=admission,
            context=context,
        )
        self._harnesses = list(harnesses)
        self._early_cancels: OrderedDict[str, None] = OrderedDict()
        self._stopping = threading.Event()
        self.lost_name = threading.Event()
        self._heap = Heap()
        self._threads = [
            threading.Thread(target=self._listen, name="control", daemon=True),
            threading.Thread(target=self._report, name="reports", daemon=True),
        ]

    def start(self) -> None:
        """Take the name, then report. Raises NameTakenError and RedisError."""
        self._lease.acquire()
        self._redis.delete(control_stream(self.name))
        self._publisher.start()
        for thread in self._threads:
            thread.start()
        log.info("neuron_started", neuron=self.name, boot=self.boot_id)

    def stop(self) -> None:
        """End what runs, send the last events, say goodbye and give the name back."""
        self._cancel_all()
        self.models.close()
        self._publisher.stop()
        self._stopping.set()
        try:
            self._send_report(leaving=True)
            self._lease.release()
        except (RedisError, OSError) as fault:
            log.warning("goodbye_not_said", reason=str(fault))

    # -- work ----------------------------------------------------------------------------------

    def take(self, order: wire.Order) -> None:
        """Begin one request, unless it was meant for another boot or is cancelled already."""
        request = order.request
        if order.boot_id != self.boot_id:
            log.warning("order_for_another_boot", attempt=request.id, boot=order.boot_id)
            return
        if self._early_cancels.pop(request.id, self) is None:
            log.info("order_cancelled_before_it_came", attempt=request.id)
            return
        self._publisher.open(request.id, gateway=order.gateway, stream=request.stream)
        harness = self.models.harness_of(request.model)
        if harness is None:
            message = f"The model `{request.model}` is not loaded on neuron {self.name}."
            self._publisher.publish([(request.id, Failed("service_unavailable", message))])
            return
        harness.submit(request)

    def cancel(self, attempt_id: str) -> None:
        if self._publisher.is_open(attempt_id):
            for harness in self.models.harnesses:
                if harness.cancel(attempt_id):
                    return
        else:
            self._early_cancels[attempt_id] = None
            while len(self._early_cancels) > CANCELS_REMEMBERED:
                self._early_cancels.popitem(last=False)

    def _cancel_all(self) -> None:
        for attempt_id in self._publisher.open_attempts:
            self.cancel(attempt_id)

    # -- listening and reporting -----------------------------------------------------------------

    def _listen(self) -> None:
        """Take cancels and settled attempts from the control stream. Its beginning is ours: `start` emptied it."""
        position: bytes | str = "0"
        while not self._stopping.is_set():
            try:
                streams: Any = self._redis.xread({control_stream(self.name): position}, block=1000, count=100)
            except (RedisError, OSError):
                self._stopping.wait(0.2)
                continue
            for message_id, fields in (entry for _, entries in streams or [] for entry in entries):
                position = message_id
                for attempt_id in _ids(fields, wire.CANCEL_FIELD):
                    self.cancel(attempt_id)
                self._publisher.settled(_ids(fields, wire.SETTLED_FIELD))

    def _report(self) -> None:
        while not self._stopping.is_set():
            began_s = time.monotonic()
            try:
                if not self._lease.is_ours():
                    log.error("name_lost", neuron=self.name)
                    self.lost_name.set()
                    return
                self._send_report()
                self._heap.seen(idle=not self._publisher.open_attempts)
            except (RedisError, OSError) as fault:
                log.warning("report_not_sent", reason=str(fault))
            except Exception:
                log.exception("report_fault")
            self._stopping.wait(max(0.0, REPORT_PERIOD_S - (time.monotonic() - began_s)))

    def _send_report(self, *, leaving: bool = False) -> None:
        report = NeuronReport(
            name=self.name,
            boot_id=self.boot_id,
            hostname=self._host.hostname,
            os=self._host.os,
            started_at=self._started_at_s,
            at=time.time(),
            harnesses=self._harnesses,
            build=build(),
            devices=self._host.devices(),
            models=[] if leaving else self.models.reports(),
            running=self._publisher.open_attempts,
            finals=self._publisher.final_records.unsettled(),
            driver_version=self._host.driver_version,
            cuda_version=self._host.cuda_version,
            cuda_missing_reason=self._host.cuda_missing_reason,
            leaving=leaving,
        )
        self._redis.xadd(REPORTS_STREAM, {"r": encode_report(report)}, maxlen=REPORTS_KEPT, approximate=True)


def _ids(fields: Mapping[bytes, bytes], field: bytes) -> list[str]:
    return wire.decode_ids(fields[field]) if field in fields else []
