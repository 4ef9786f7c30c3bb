"""GET /v1/models: everything the fleet could serve to this key (MISSION G5)."""

from __future__ import annotations

import msgspec

from accounts.principals import Principal
from fleet.reports import NeuronReport
from fleet.routing import Location, locations, tightest_limit
from inference.dialects import openai_models
from inference.gateway.exchange import Exchange
from inference.gateway.route import require_model
from inference.gateway.runtime import Gateway

_encode = msgspec.json.Encoder().encode


async def list_models(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    entries = [
        _entry(gateway, model_id) for model_id in _known(gateway) if principal is None or principal.may_use(model_id)
    ]
    await exchange.answer(_encode({"object": "list", "data": entries}))


async def one_model(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    require_model(gateway, principal, exchange.item_id)
    await exchange.answer(_encode(_entry(gateway, exchange.item_id)))


def _known(gateway: Gateway) -> list[str]:
    """Ids of the catalogue and of whatever a healthy neuron holds or loads, in order."""
    held = {model.id for neuron in gateway.fleet.healthy for model in neuron.models}
    return sorted(held | set(gateway.fleet.catalogue))


def _entry(gateway: Gateway, model_id: str) -> openai_models.ModelEntry:
    profile = gateway.fleet.catalogue.get(model_id)
    healthy: list[NeuronReport] = gateway.fleet.healthy
    places: list[Location] = locations(model_id, healthy)
    limit = tightest_limit(places)
    return openai_models.entry(
        model_id,
        created_s=profile.created_s if profile else 0,
        locations=[(place.neuron.name, place.model.status) for place in places],
        facts=[place.model.facts for place in places if place.model.status == "loaded"],
        limit={"context": limit.context, "input": limit.input, "output": limit.output} if limit else None,
    )
