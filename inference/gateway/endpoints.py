"""What answers which path under `/v1`, by method."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

from accounts.principals import Principal
from inference.dialects import chat, completions, messages
from inference.dialects.dialect import Parse
from inference.dialects.messages import count
from inference.gateway import models_list
from inference.gateway.call import call
from inference.gateway.exchange import Exchange
from inference.gateway.responses import endpoints as responses
from inference.gateway.runtime import Gateway
from inference.refusals import Refusal

#: Raises Refusal for everything known before the first byte of its answer.
Endpoint = Callable[[Gateway, Exchange, "Principal | None"], Awaitable[None]]
Methods = Mapping[str, Endpoint]


class MethodNotAllowed(Refusal):
    """405, with the methods that a path takes."""

    def __init__(self, exchange: Exchange, methods: Methods) -> None:
        super().__init__(f"`{exchange.path}` takes {' or '.join(methods)}, not {exchange.method}.", status=405)
        self._methods = methods

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().headers, (b"allow", ", ".join(self._methods).encode())]


def calls(dialect: str, parse: Parse) -> Endpoint:
    """The endpoint of a dialect that takes a body and calls a model. `dialect` is its label in logs and records."""

    async def endpoint(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
        exchange.require_json()
        request = parse(exchange.body, exchange.header)
        await call(gateway, exchange, principal, request, dialect=dialect, prompt_bytes=len(exchange.body))

    return endpoint


_PATHS: dict[str, Methods] = {
    "/v1/chat/completions": {"POST": calls("openai-chat", chat.parse)},
    "/v1/completions": {"POST": calls("openai-completions", completions.parse)},
    "/v1/responses": {"POST": responses.create},
    "/v1/responses/input_tokens": {"POST": responses.count_input},
    "/v1/responses/compact": {"POST": responses.compact},
    "/v1/messages": {"POST": calls("anthropic", messages.parse)},
    "/v1/messages/count_tokens": {"POST": calls("anthropic", count.parse)},
    "/v1/models": {"GET": models_list.list_models, "HEAD": models_list.list_models},
}
#: Paths with an id in them, which the endpoint finds in `exchange.item_id`.
_ITEM_PATHS: dict[re.Pattern[str], Methods] = {
    re.compile(r"/v1/responses/(?P<id>[^/]+)"): {"GET": responses.retrieve, "DELETE": responses.delete},
    re.compile(r"/v1/responses/(?P<id>[^/]+)/cancel"): {"POST": responses.cancel},
    re.compile(r"/v1/responses/(?P<id>[^/]+)/input_items"): {"GET": responses.list_input_items},
    re.compile(r"/v1/models/(?P<id>.+)"): {"GET": models_list.one_model, "HEAD": models_list.one_model},
}


def find_endpoint(exchange: Exchange) -> Endpoint:
    """The endpoint of a method and path. Raises Refusal: 404 for an unknown path, 405 for another method."""
    methods = _methods(exchange)
    if methods is None:
        raise Refusal(f"There is no `{exchange.path}` here.", status=404)
    endpoint = methods.get(exchange.method)
    if endpoint is None:
        raise MethodNotAllowed(exchange, methods)
    return endpoint


def _methods(exchange: Exchange) -> Methods | None:
    path = exchange.path.rstrip("/")
    if path in _PATHS:
        return _PATHS[path]
    for pattern, methods in _ITEM_PATHS.items():
        if found := pattern.fullmatch(path):
            exchange.item_id = found["id"]
            return methods
    return None
