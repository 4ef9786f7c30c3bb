"""GET /v1/models: everything the fleet could serve to this key (MISSION G5), in the shape its client reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from accounts.principals import Principal
from fleet.catalogue import CatalogueEntry
from fleet.routing import Location, locations, tightest_limit
from inference.dialects.messages import models as anthropic_models
from inference.dialects.openai import codex_models
from inference.dialects.openai import models as openai_models
from inference.gateway.bounds import prices_of
from inference.gateway.envelopes import speaks_anthropic
from inference.gateway.exchange import Exchange
from inference.gateway.route import require_model
from inference.gateway.runtime import Gateway

_encode = msgspec.json.Encoder().encode

#: Prices are in nano-USD inside.
_NANO = 10**9


async def list_models(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """Codex, which says its version, finds a list of its own beside OpenAI's."""
    model_ids = [model_id for model_id in _known(gateway) if principal is None or principal.may_use(model_id)]
    if speaks_anthropic(exchange.path, exchange.headers):
        asked_for, has_more = anthropic_models.page(model_ids, exchange.query)
        entries = [_Model.of(gateway, model_id).for_anthropic() for model_id in asked_for]
        await exchange.answer(_encode(anthropic_models.listing(entries, has_more=has_more)))
        return
    models = [_Model.of(gateway, model_id) for model_id in model_ids]
    listing: dict[str, Any] = {"object": "list", "data": [model.for_openai() for model in models]}
    if "client_version" in exchange.query:
        listing["models"] = [model.for_codex(place) for place, model in enumerate(models) if model.limit]
    await exchange.answer(_encode(listing))


async def one_model(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    require_model(gateway, principal, exchange.item_id)
    model = _Model.of(gateway, exchange.item_id)
    anthropic = speaks_anthropic(exchange.path, exchange.headers)
    await exchange.answer(_encode(model.for_anthropic() if anthropic else model.for_openai()))


def _known(gateway: Gateway) -> list[str]:
    """Ids of the catalogue and of whatever a healthy neuron holds or loads, in order."""
    held = {model.id for neuron in gateway.fleet.healthy for model in neuron.models}
    return sorted(held | set(gateway.fleet.catalogue))


@dataclass(frozen=True)
class _Model:
    """What the fleet knows of a model. `limit` is None while it is loaded nowhere."""

    id: str
    profile: CatalogueEntry | None
    places: list[Location]
    limit: dict[str, int] | None

    @classmethod
    def of(cls, gateway: Gateway, model_id: str) -> _Model:
        places = locations(model_id, gateway.fleet.healthy)
        limit = tightest_limit(places)
        tokens = {"context": limit.context, "input": limit.input, "output": limit.output} if limit else None
        return cls(model_id, gateway.fleet.catalogue.get(model_id), places, tokens)

    @property
    def created_s(self) -> int:
        return self.profile.created_s if self.profile else 0

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What each neuron that holds it says of it."""
        return [place.model.facts for place in self.places if place.model.status == "loaded"]

    @property
    def cost(self) -> dict[str, float] | None:
        """USD per 1M tokens. What is written to a cache is never billed."""
        prices = prices_of(self.profile)
        if prices is None:
            return None
        cached = prices.input if prices.cached is None else prices.cached
        nano_usd = {"input": prices.input, "output": prices.output, "cache_read": cached, "cache_write": 0}
        return {name: amount / _NANO for name, amount in nano_usd.items()}

    def for_openai(self) -> openai_models.ModelEntry:
        return openai_models.entry(
            self.id,
            created_s=self.created_s,
            locations=[(place.neuron.name, place.model.status) for place in self.places],
            facts=self.facts,
            limit=self.limit,
            cost=self.cost,
        )

    def for_anthropic(self) -> anthropic_models.ModelEntry:
        return anthropic_models.entry(self.id, created_s=self.created_s, limit=self.limit)

    def for_codex(self, place: int) -> dict[str, Any]:
        assert self.limit, "Codex is told of what it can use now"
        return codex_models.entry(
            self.id,
            priority=place,
            input_tokens=self.limit["input"],
            reasoning=any(fact.get("reasoning") for fact in self.facts),
            tool_call=any(fact.get("tool_call") for fact in self.facts),
        )
