"""The catalogue, which operators edit, and the fleet as it reports itself, which nobody edits by hand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet
from django.db.models.functions import JSONObject
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html_join
from django.utils.timesince import timesince
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from fleet.forms import ProfileForm
from fleet.models import Device, Neuron, Profile, Replica
from helexa.usd import format_usd

_COLOURS: dict[str, str] = {
    Neuron.Status.HEALTHY: "success",
    Neuron.Status.UNHEALTHY: "danger",
    Replica.Status.LOADING: "info",
    Replica.Status.LOADED: "success",
    Replica.Status.FAILED: "danger",
}


def _badge(text: str, colour: str) -> str:
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": colour, "class": "hx-badge"})


def _badges(texts_and_colours: list[tuple[str, str]]) -> str:
    return format_html_join(" ", "{}", ((_badge(text, colour),) for text, colour in texts_and_colours)) or "–"


def _presence(name: str, health: str, status: str) -> tuple[str, str]:
    """A model on a neuron, or a neuron that has a model: the plain name where it is loaded, else with the reason."""
    if health == Neuron.Status.UNHEALTHY:
        return f"{name}: neuron silent", "danger"
    return name if status == Replica.Status.LOADED else f"{name}: {status}", _COLOURS[status]


class Reported:
    """Rows that gateways write from the neurons' reports: to look at, and to delete once their neuron is dead.

    A neuron that lives writes itself down again with its next report, so deleting its row would only confuse.
    """

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        neuron = getattr(obj, "neuron", obj)
        allowed: bool = super().has_delete_permission(request, obj)  # type: ignore[misc]
        return isinstance(neuron, Neuron) and neuron.status == Neuron.Status.UNHEALTHY and allowed


class ShownReplica:
    """Columns of a replica that the replica list and a neuron's page share."""

    @display(description="status", ordering="status")
    def shown_status(self, replica: Replica) -> str:
        if replica.neuron.status == Neuron.Status.UNHEALTHY:
            return _badge("Neuron silent", "danger")
        return _badge(replica.get_status_display(), _COLOURS[replica.status])

    @display(description="context")
    def context(self, replica: Replica) -> str:
        """Tokens of prompt and answer together, and which ceiling it is."""
        if replica.limit is None:
            return "–"
        return f"{replica.limit['context']:,} (by {replica.limit['bound_by']})"


class DeviceInline(Reported, TabularInline):
    """A neuron's devices."""

    model = Device
    hide_title = True
    fields = readonly_fields = ["name", "label", "memory", "utilisation", "temperature", "usable"]
    extra = 0

    @display(description="memory free")
    def memory(self, device: Device) -> str:
        return f"{device.memory_free_mb:,} of {device.memory_total_mb:,} MB"

    @display(description="utilisation")
    def utilisation(self, device: Device) -> str:
        return "–" if device.utilisation_percent is None else f"{device.utilisation_percent} %"

    @display(description="temperature")
    def temperature(self, device: Device) -> str:
        return "–" if device.temperature_c is None else f"{device.temperature_c} °C"

    @display(description="usable")
    def usable(self, device: Device) -> str:
        return f"No: {device.unusable_reason}" if device.unusable_reason else "Yes"


class ReplicaInline(ShownReplica, Reported, TabularInline):
    """The models of a neuron."""

    model = Replica
    hide_title = True
    fields = readonly_fields = ["model_id", "shown_status", "device", "in_flight", "queue_depth", "context", "progress"]
    extra = 0


@admin.register(Neuron)
class NeuronAdmin(Reported, ModelAdmin):
    list_display = ["name", "health", "shown_devices", "shown_models", "last_seen", "hostname"]
    list_filter = ["status"]
    search_fields = ["name", "hostname"]
    fieldsets = [
        (None, {"fields": [("name", "health"), ("hostname", "os"), ("last_seen", "started_at")]}),
        ("What it runs on", {"fields": [("driver_version", "cuda"), ("harnesses", "boot_id"), "build"]}),
    ]
    readonly_fields = ["health", "last_seen", "cuda"]
    inlines = [DeviceInline, ReplicaInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Neuron]:
        return super().get_queryset(request).prefetch_related("devices", "replicas")

    @display(description="health", ordering="status")
    def health(self, neuron: Neuron) -> str:
        return _badge(neuron.get_status_display(), _COLOURS[neuron.status])

    @display(description="last report", ordering="last_seen_at")
    def last_seen(self, neuron: Neuron) -> str:
        if neuron.status == Neuron.Status.HEALTHY:
            return "now"
        return f"{timesince(neuron.last_seen_at, depth=1)} ago"

    @display(description="CUDA")
    def cuda(self, neuron: Neuron) -> str:
        return neuron.cuda_version or f"None: {neuron.cuda_missing_reason or 'no reason given'}"

    @display(description="devices")
    def shown_devices(self, neuron: Neuron) -> str:
        return ", ".join(device.name for device in neuron.devices.all()) or "–"

    @display(description="models")
    def shown_models(self, neuron: Neuron) -> str:
        return _badges([_presence(r.model_id, neuron.status, r.status) for r in neuron.replicas.all()])


@admin.register(Replica)
class ReplicaAdmin(ShownReplica, Reported, ModelAdmin):
    list_display = ["model_id", "neuron", "shown_status", "device", "in_flight", "queue_depth", "context", "progress"]
    list_display_links = ["model_id"]
    list_filter = ["status"]
    list_select_related = ["neuron"]
    search_fields = ["model_id", "neuron__name"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("model_id", "neuron"),
                    ("shown_status", "device"),
                    ("in_flight", "queue_depth"),
                    ("context", "progress"),
                ]
            },
        ),
        ("What the model says of itself", {"fields": ["facts"]}),
    ]
    readonly_fields = ["shown_status", "context"]


@admin.register(Profile)
class ProfileAdmin(SimpleHistoryAdmin, ModelAdmin):
    form = ProfileForm
    list_display = ["model_id", "where", "source", "harness", "shown_price", "shown_pins"]
    list_filter = ["harness"]
    search_fields = ["model_id", "source"]
    fieldsets = [
        (None, {"fields": ["model_id", "source", "harness", "pinned_on"]}),
        (
            "Prices",
            {
                "description": "They hold for requests that come after; what is running keeps those it came with.",
                "fields": [("input_price", "output_price"), ("cached_price", "reasoning_price")],
            },
        ),
    ]
    history_list_display = ["shown_prices"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Profile]:
        replicas = Replica.objects.filter(model_id=OuterRef("model_id")).order_by("neuron__name")
        row = JSONObject(neuron="neuron__name", health="neuron__status", status="status")
        return super().get_queryset(request).annotate(replicas=ArraySubquery(replicas.values_list(row)))

    @display(description="where it is")
    def where(self, profile: Any) -> str:
        return _badges([_presence(r["neuron"], r["health"], r["status"]) for r in profile.replicas])

    @display(description="pinned on")
    def shown_pins(self, profile: Profile) -> str:
        return ", ".join(profile.pinned_on) or "–"

    @display(description="$ per 1M tokens", ordering="input_price")
    def shown_price(self, profile: Profile) -> str:
        if profile.input_price is None or profile.output_price is None:
            return "–"
        return f"{format_usd(profile.input_price)} in, {format_usd(profile.output_price)} out"

    @display(description="prices")
    def shown_prices(self, profile: Any) -> str:
        """Every price of a row of the history."""
        named = ("input", "output", "cached", "reasoning")
        prices = ((name, getattr(profile, f"{name}_price")) for name in named)
        return ", ".join(f"{name} {format_usd(price)}" for name, price in prices if price is not None) or "none"
