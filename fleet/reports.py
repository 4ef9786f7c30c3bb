"""What a neuron says of itself, once a second, over Redis: discovery, health, devices, models, build, and what it runs.

The neuron writes these and gateways, commands and `up` read them, so no Django and no tables here. One report is whole:
whoever comes late knows everything after the next one.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

#: Stream of all neurons' reports; one entry is one msgpack NeuronReport under the field `r`.
REPORTS_STREAM = "helexa:reports"
#: Old reports are worth nothing: about this many entries are kept.
REPORTS_KEPT = 1000

#: Celery tasks by which a neuron is asked to load and unload a model.
LOAD_TASK = "inference.load"
UNLOAD_TASK = "inference.unload"

#: Silence after which a neuron counts as unhealthy, and the period of its reports.
SILENCE_LIMIT_S = 5.0
REPORT_PERIOD_S = 1.0


def control_stream(neuron: str) -> str:
    """Stream on which a neuron takes cancels and settled attempts, so that they never wait behind its task queue."""
    return f"helexa:neuron:{neuron}:control"


def lease_key(neuron: str) -> str:
    """Key that holds the boot id of the process that owns the neuron's name."""
    return f"helexa:neuron:{neuron}:lease"


#: Keys that say a gateway lives, as JSON with `id`, `pid`, `url` and `started_at`; they expire by themselves.
GATEWAY_PRESENCE_PATTERN = "helexa:gateway:*:presence"


def gateway_presence(gateway_id: str) -> str:
    return GATEWAY_PRESENCE_PATTERN.replace("*", gateway_id)


def task_queue(neuron: str) -> str:
    """Celery queue of one neuron."""
    return f"neuron.{neuron}"


class DeviceReport(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    label: str
    memory_total_mb: int
    memory_free_mb: int
    capability: str = ""
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    unusable_reason: str = ""


class ContextLimit(msgspec.Struct, frozen=True):
    """Tokens that a model takes on a neuron: `context` of prompt and answer together, of which `input` is the prompt's.

    `bound_by` names what the context was cut by: model, memory, throughput or operator.
    """

    context: int
    input: int
    output: int
    bound_by: str


class ModelReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model on the neuron. `progress` says what a load is doing, or why it failed; `facts` what a loaded model is.

    `limit` is None where none is derived.
    """

    id: str
    status: Literal["loading", "loaded", "failed"]
    device: str = ""
    in_flight: int = 0
    queue_depth: int = 0
    progress: str = ""
    facts: dict[str, Any] = {}
    limit: ContextLimit | None = None


class NeuronReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """`started_at` and `at` are seconds since the epoch on the neuron's clock; `running` are the attempts it holds.

    `finals` are prompt, completion, cached and reasoning tokens of attempts that are over and whose settle nobody has
    acknowledged for some seconds: normally none, and never more than a thousand, oldest first.
    """

    name: str
    boot_id: str
    hostname: str
    os: str
    started_at: float
    at: float
    harnesses: list[str]
    build: dict[str, Any]
    devices: list[DeviceReport]
    models: list[ModelReport]
    running: list[str]
    finals: dict[str, tuple[int, int, int, int]] = {}
    driver_version: str = ""
    cuda_version: str = ""
    cuda_missing_reason: str = ""
    #: The last report of a neuron that stops: it is gone at once, not after its silence.
    leaving: bool = False


encode_report = msgspec.msgpack.Encoder().encode
decode_report = msgspec.msgpack.Decoder(NeuronReport).decode
