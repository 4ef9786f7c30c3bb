"""Loading and unloading by hand, from a terminal or over /api/. Every refusal is a ValidationError by field.

An order is sent and not waited for: what became of it, the neuron says in its reports.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db import transaction

from fleet.lifecycle import send_load, send_unload
from fleet.live import LiveNeuron
from fleet.models import Profile
from fleet.reports import ModelReport


def order_load(neurons: Sequence[LiveNeuron], model_id: str, name: str | None) -> tuple[LiveNeuron, ModelReport | None]:
    """Ask a neuron to load a model of the catalogue: the neuron, and what it said of the model before.

    Nothing is sent where the model is loaded or being loaded.
    """
    profile = Profile.objects.filter(model_id=model_id).first()
    if profile is None:
        raise ValidationError({"model": f"The catalogue has no model {model_id!r}; add it in the admin."})
    target = choose(neurons, name)
    earlier = held(target, model_id)
    if earlier is None or earlier.status == "failed":
        send_load(profile, target.report)
    return target, earlier


def order_unload(neurons: Sequence[LiveNeuron], model_id: str, name: str | None) -> LiveNeuron:
    """Ask a neuron to unload a model, and pin it there no longer: gateways would load it again at once."""
    holders = [neuron for neuron in neurons if neuron.healthy and held(neuron, model_id) is not None]
    if not holders:
        raise ValidationError({"model": f"No healthy neuron holds {model_id!r}: `fleet status` shows what each holds."})
    target = choose(holders, name)
    _unpin(model_id, target.report.name)
    send_unload(model_id, target.report)
    return target


def choose(neurons: Sequence[LiveNeuron], name: str | None) -> LiveNeuron:
    """The healthy neuron of that name, or without a name the only one. Raises ValidationError."""
    healthy = [neuron for neuron in neurons if neuron.healthy and name in (None, neuron.report.name)]
    if len(healthy) == 1:
        return healthy[0]
    if not healthy:
        raise ValidationError(
            {"neuron": f"Neuron {name} is not healthy or unknown." if name else "No neuron is healthy."}
        )
    raise ValidationError({"neuron": f"Say which one: {', '.join(neuron.report.name for neuron in healthy)}."})


def held(neuron: LiveNeuron, model_id: str) -> ModelReport | None:
    return next((model for model in neuron.report.models if model.id == model_id), None)


@transaction.atomic
def _unpin(model_id: str, name: str) -> None:
    for profile in Profile.objects.select_for_update().filter(model_id=model_id, pinned_on__contains=[name]):
        profile.pinned_on = [other for other in profile.pinned_on if other != name]
        profile.save(update_fields=["pinned_on"])
