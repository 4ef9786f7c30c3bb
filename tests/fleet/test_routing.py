"""Which neuron takes a request, and why none does."""

from __future__ import annotations

from typing import Literal

from fleet.reports import ModelReport, NeuronReport
from fleet.routing import choose, obstacle

Status = Literal["loading", "loaded", "failed"]


def neuron(name: str, *, status: Status | None = "loaded", running: int = 0, progress: str = "") -> NeuronReport:
    models = [ModelReport(id="m", status=status, progress=progress)] if status else []
    return NeuronReport(
        name=name, boot_id="b", hostname="h", os="o", started_at=0, at=0, harnesses=[], build={}, devices=[],
        models=models, running=[str(number) for number in range(running)],
    )  # fmt: skip


def chosen(*neurons: NeuronReport, sent: dict[str, int] | None = None, avoid: tuple[str, ...] = ()) -> str | None:
    found = choose("m", neurons, sent=sent or {}, avoid=avoid)
    return found.name if found else None


def test_the_least_loaded_neuron_that_holds_the_model_takes_it() -> None:
    assert chosen(neuron("a", running=3), neuron("b", running=1), neuron("c", status=None)) == "b"


def test_what_was_sent_since_the_last_report_counts() -> None:
    assert chosen(neuron("a"), neuron("b", running=1), sent={"a": 2}) == "b"


def test_a_neuron_that_loads_or_failed_or_is_avoided_takes_nothing() -> None:
    assert chosen(neuron("a", status="loading"), neuron("b", status="failed"), neuron("c"), avoid=("c",)) is None


def test_the_obstacle_is_told_with_its_reason() -> None:
    assert obstacle("m", []) == ("no_healthy_neuron", "")
    assert obstacle("m", [neuron("a", status=None)]) == ("not_loaded", "")
    assert obstacle("m", [neuron("a", status="failed", progress="no disk")]) == ("failed", "no disk")
    both = [neuron("a", status="failed", progress="no disk"), neuron("b", status="loading", progress="half")]
    assert obstacle("m", both) == ("loading", "half")
