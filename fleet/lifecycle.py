"""Loading and unloading models on neurons: orders by Celery, and the standing wish that pinned models are there."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from celery import current_app

from fleet.models import Profile
from fleet.reports import LOAD_TASK, UNLOAD_TASK, NeuronReport, task_queue

log = structlog.get_logger(__name__)

#: A load order that a neuron has not begun to follow within this time is sent again.
UNHEARD_ORDER_S = 20
#: A pinned model whose load failed is tried again after this.
FAILED_LOAD_RETRY_S = 60
#: An order nobody takes within this time is void.
ORDER_LIMIT_S = 30


def send_load(profile: Profile, neuron: NeuronReport) -> None:
    """Ask a neuron to load a profile. The neuron says what became of it in its reports."""
    order = {
        "boot_id": neuron.boot_id,
        "model_id": profile.model_id,
        "source": profile.source,
        "harness": profile.harness,
    }
    current_app.send_task(LOAD_TASK, kwargs=order, queue=task_queue(neuron.name), expires=ORDER_LIMIT_S, retry=False)


def send_unload(model_id: str, neuron: NeuronReport) -> None:
    order = {"boot_id": neuron.boot_id, "model_id": model_id}
    current_app.send_task(UNLOAD_TASK, kwargs=order, queue=task_queue(neuron.name), expires=ORDER_LIMIT_S, retry=False)


class PinnedLoads:
    """Sends load orders for pinned models that healthy neurons lack. Remembers only what it has just ordered."""

    def __init__(self) -> None:
        self._not_before_s: dict[tuple[str, str], float] = {}

    def send_missing(self, healthy: Sequence[NeuronReport]) -> None:
        now_s = time.monotonic()
        for profile in Profile.objects.exclude(pinned_on=[]):
            for neuron in healthy:
                if neuron.name in profile.pinned_on:
                    self._send_if_due(profile, neuron, now_s)

    def _send_if_due(self, profile: Profile, neuron: NeuronReport, now_s: float) -> None:
        order = (neuron.boot_id, profile.model_id)
        status = next((model.status for model in neuron.models if model.id == profile.model_id), None)
        if status in ("loaded", "loading"):
            self._not_before_s.pop(order, None)
            return
        if status == "failed" and order not in self._not_before_s:
            self._not_before_s[order] = now_s + FAILED_LOAD_RETRY_S
        if now_s < self._not_before_s.get(order, 0.0):
            return
        self._not_before_s[order] = now_s + (FAILED_LOAD_RETRY_S if status == "failed" else UNHEARD_ORDER_S)
        send_load(profile, neuron)
        log.info("load_ordered", model=profile.model_id, neuron=neuron.name)
