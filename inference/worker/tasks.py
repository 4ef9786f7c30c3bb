"""The Celery tasks of a neuron. Each hands its order over and is done; none waits for a generation."""

from __future__ import annotations

from celery import shared_task

from fleet.reports import LOAD_TASK, UNLOAD_TASK
from inference import wire
from inference.worker.neuron import Neuron

_neuron: Neuron | None = None


def serve_with(neuron: Neuron) -> None:
    """Say which neuron this process is, before Celery consumes."""
    global _neuron  # noqa: PLW0603
    _neuron = neuron


def _this_neuron() -> Neuron:
    assert _neuron is not None, "tasks run only inside `manage.py runworker`"
    return _neuron


@shared_task(name=wire.GENERATE_TASK)
def generate(orders: str) -> None:
    """Begin the requests of one or more clients."""
    for order in wire.decode_orders(orders.encode()):
        _this_neuron().take(order)


@shared_task(name=LOAD_TASK)
def load(boot_id: str, model_id: str, source: str, harness: str) -> None:
    """Begin to load a model."""
    if boot_id == _this_neuron().boot_id:
        _this_neuron().models.load(model_id, source=source, harness=harness)


@shared_task(name=UNLOAD_TASK)
def unload(boot_id: str, model_id: str) -> None:
    if boot_id == _this_neuron().boot_id:
        _this_neuron().models.unload(model_id)
