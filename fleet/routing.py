"""Which neuron takes a request: a plain decision over what neurons last reported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from fleet.reports import ContextLimit, ModelReport, NeuronReport

#: What stands in the way where no neuron can take a request now.
Obstacle = Literal["no_healthy_neuron", "loading", "failed", "not_loaded"]


@dataclass(frozen=True, slots=True)
class Location:
    """A model on a neuron, as last reported."""

    neuron: NeuronReport
    model: ModelReport


def locations(model_id: str, neurons: Iterable[NeuronReport]) -> list[Location]:
    return [Location(neuron, model) for neuron in neurons for model in neuron.models if model.id == model_id]


def choose(
    model_id: str,
    healthy: Collection[NeuronReport],
    *,
    sent: Mapping[str, int],
    avoid: Collection[str] = (),
) -> NeuronReport | None:
    """The least loaded healthy neuron that holds the model, None where there is none.

    `sent` counts this gateway's own running requests by neuron name: reports are up to a second old, and a burst
    within one second must not all go to the same neuron. `avoid` names neurons that just failed this request.
    """
    ready = [at for at in locations(model_id, healthy) if at.model.status == "loaded" and at.neuron.name not in avoid]
    best = min(ready, key=lambda at: max(len(at.neuron.running), sent.get(at.neuron.name, 0)), default=None)
    return best.neuron if best else None


def tightest_limit(places: Iterable[Location]) -> ContextLimit | None:
    """The smallest context among the neurons that serve a model: what fits there fits everywhere (MISSION G10)."""
    limits = [place.model.limit for place in places if place.model.status == "loaded" and place.model.limit]
    return min(limits, key=lambda limit: limit.context, default=None)


def obstacle(model_id: str, healthy: Collection[NeuronReport]) -> tuple[Obstacle, str]:
    """Why `choose` found nothing, and the reason in words where a neuron gave one."""
    if not healthy:
        return "no_healthy_neuron", ""
    there = locations(model_id, healthy)
    for at in there:
        if at.model.status == "loading":
            return "loading", at.model.progress
    for at in there:
        if at.model.status == "failed":
            return "failed", at.model.progress
    return "not_loaded", ""
