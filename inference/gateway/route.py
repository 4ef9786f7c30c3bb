"""Which neuron a request goes to, or why there is none."""

from __future__ import annotations

from collections.abc import Collection

from accounts.principals import Principal
from fleet import routing
from fleet.reports import NeuronReport
from inference.gateway.runtime import Gateway
from inference.refusals import Refusal, unavailable


def require_model(gateway: Gateway, principal: Principal | None, model_id: str) -> None:
    """Raises 404 for a model that is nowhere, and for one this key may not use: the two look the same."""
    known = model_id in gateway.fleet.catalogue or any(routing.locations(model_id, gateway.fleet.healthy))
    if not known or (principal is not None and not principal.may_use(model_id)):
        raise Refusal(
            f"The model `{model_id}` does not exist or this key may not use it.", code="model_not_found", param="model"
        )


def choose(gateway: Gateway, model_id: str, avoid: Collection[str]) -> NeuronReport:
    """The neuron that takes the request. Raises 503 with the reason where there is none (MISSION G7)."""
    if not gateway.relay.available:
        raise unavailable("Redis does not answer, so no neuron can be reached.", retry_after_s=5)
    healthy = gateway.fleet.healthy
    neuron = routing.choose(model_id, healthy, sent=gateway.attempts.by_neuron(), avoid=avoid)
    if neuron is not None:
        return neuron
    obstacle, reason = routing.obstacle(model_id, healthy)
    if obstacle == "no_healthy_neuron":
        raise unavailable("No neuron is healthy now.", retry_after_s=5)
    if obstacle == "loading":
        raise unavailable(f"The model `{model_id}` is loading{f': {reason}' if reason else ''}.", retry_after_s=5)
    if obstacle == "failed":
        entry = gateway.fleet.catalogue.get(model_id)
        retried = entry is not None and bool(entry.pinned_on)
        raise unavailable(
            f"The model `{model_id}` could not be loaded: {reason}", retry_after_s=60 if retried else None
        )
    raise unavailable(f"The model `{model_id}` is not loaded on any healthy neuron.")


def another(gateway: Gateway, model_id: str, avoid: Collection[str]) -> bool:
    """Whether a neuron that is not among these could take it."""
    return routing.choose(model_id, gateway.fleet.healthy, sent={}, avoid=avoid) is not None
