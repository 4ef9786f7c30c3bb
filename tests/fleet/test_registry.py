"""What neurons report is written down, and kept true when they change or fall silent."""

from __future__ import annotations

import msgspec
import pytest

from fleet.models import Device, Neuron, Replica
from fleet.registry import write_down
from fleet.reports import DeviceReport, ModelReport, NeuronReport

pytestmark = pytest.mark.django_db

REPORT = NeuronReport(
    name="gpu-1",
    boot_id="b1",
    hostname="host",
    os="Linux",
    started_at=1_700_000_000,
    at=1_700_000_005,
    harnesses=["torch"],
    build={"sha": "abc"},
    devices=[DeviceReport(name="cuda:0", label="GPU", memory_total_mb=100, memory_free_mb=40)],
    models=[ModelReport(id="m", status="loaded", device="cuda:0", in_flight=2)],
    running=[],
)


def test_a_report_becomes_rows() -> None:
    write_down([REPORT], healthy={"gpu-1"})
    neuron = Neuron.objects.get()
    assert (neuron.name, neuron.status, neuron.build) == ("gpu-1", "healthy", {"sha": "abc"})
    assert Device.objects.get().memory_free_mb == 40
    assert Replica.objects.get().in_flight == 2


def test_the_next_report_changes_them_in_place() -> None:
    write_down([REPORT], healthy={"gpu-1"})
    device, replica = Device.objects.get(), Replica.objects.get()
    busy = msgspec.structs.replace(REPORT.devices[0], memory_free_mb=10)
    done = msgspec.structs.replace(REPORT.models[0], in_flight=0)
    write_down([msgspec.structs.replace(REPORT, devices=[busy], models=[done])], healthy={"gpu-1"})
    assert (Device.objects.get().pk, Device.objects.get().memory_free_mb) == (device.pk, 10)
    assert (Replica.objects.get().pk, Replica.objects.get().in_flight) == (replica.pk, 0)


def test_what_is_no_longer_reported_is_gone() -> None:
    write_down([REPORT], healthy={"gpu-1"})
    write_down([msgspec.structs.replace(REPORT, models=[])], healthy={"gpu-1"})
    assert not Replica.objects.exists()


def test_a_silent_neuron_is_unhealthy_holds_nothing_and_heals() -> None:
    write_down([REPORT], healthy={"gpu-1"})
    write_down([REPORT], healthy=set())
    assert Neuron.objects.get().status == "unhealthy"
    assert not Replica.objects.exists()
    write_down([REPORT], healthy={"gpu-1"})
    assert Neuron.objects.get().status == "healthy"
    assert Replica.objects.exists()
