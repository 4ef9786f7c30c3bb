"""/api/neurons, /api/models, /api/load and /api/unload: what the command `fleet` does, for those who may."""

from __future__ import annotations

from typing import Any

import redis
from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from fleet.api.shapes import ModelShown, NeuronShown, OrderSent, OrderShown
from fleet.live import LiveNeuron, live_neurons
from fleet.orders import order_load, order_unload
from fleet.status import describe_models, describe_neuron

#: Actions of the table of roles, by the words they have there: fleet does not know accounts.
SEE, OPERATE = "see neurons and models", "load and unload models"


class Neurons(ViewSet):
    needs = {"list": SEE}

    @extend_schema(responses=NeuronShown(many=True))
    def list(self, request: Request) -> Response:
        """Every neuron that reported lately: health, build, devices, and what it holds."""
        return Response([describe_neuron(neuron) for neuron in _neurons()])


class Models(ViewSet):
    needs = {"list": SEE}

    @extend_schema(responses=ModelShown(many=True))
    def list(self, request: Request) -> Response:
        """The catalogue: prices, and where each model is, with its state, work, memory and limit there."""
        return Response(describe_models(_neurons()))


class Load(ViewSet):
    needs = {"create": OPERATE}

    @extend_schema(request=OrderSent, responses={202: OrderShown})
    def create(self, request: Request) -> Response:
        """Ask a neuron to load a model of the catalogue. What becomes of it is shown by /api/neurons."""
        order = _sent(request)
        neuron, earlier = order_load(_neurons(), order["model"], order.get("neuron"))
        loaded = earlier is not None and earlier.status == "loaded"
        return _ordered(order["model"], neuron, "loaded" if loaded else "loading")


class Unload(ViewSet):
    needs = {"create": OPERATE}

    @extend_schema(request=OrderSent, responses={202: OrderShown})
    def create(self, request: Request) -> Response:
        """Ask a neuron to unload a model, and pin it there no longer."""
        order = _sent(request)
        neuron = order_unload(_neurons(), order["model"], order.get("neuron"))
        return _ordered(order["model"], neuron, "unloading")


def _neurons() -> list[LiveNeuron]:
    assert settings.REDIS_URL is not None, "a gateway does not start without one"
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
        return live_neurons(client)


def _sent(request: Request) -> dict[str, Any]:
    checked = OrderSent(data=request.data)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def _ordered(model: str, neuron: LiveNeuron, state: str) -> Response:
    document = {"model": model, "neuron": neuron.report.name, "status": state}
    return Response(document, status=status.HTTP_202_ACCEPTED)
