"""The fleet as it is now, asked of Redis: for commands that run beside gateways and must not guess."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import redis

from fleet.reports import GATEWAY_PRESENCE_PATTERN, REPORTS_STREAM, SILENCE_LIMIT_S, NeuronReport, decode_report


@dataclass(frozen=True)
class LiveNeuron:
    """A neuron's newest report and how old it is, on Redis' own clock."""

    report: NeuronReport
    age_s: float

    @property
    def healthy(self) -> bool:
        return self.age_s < SILENCE_LIMIT_S and not self.report.leaving


@dataclass(frozen=True)
class LiveGateway:
    pid: int
    url: str


def live_neurons(client: redis.Redis) -> list[LiveNeuron]:
    """Every neuron that reported lately, by name, those that have fallen silent included."""
    seconds, microseconds = client.time()
    now_s = seconds + microseconds / 1e6
    newest: dict[str, LiveNeuron] = {}
    entries: Any = client.xrevrange(REPORTS_STREAM)
    for entry_id, fields in entries:
        report = decode_report(fields[b"r"])
        sent_s = int(entry_id.split(b"-")[0]) / 1000
        newest.setdefault(report.name, LiveNeuron(report, max(0.0, now_s - sent_s)))
    return [newest[name] for name in sorted(newest)]


def live_gateways(client: redis.Redis) -> list[LiveGateway]:
    """The gateways that said within the last seconds that they live, the oldest first."""
    found = [json.loads(value) for key in client.scan_iter(GATEWAY_PRESENCE_PATTERN) if (value := client.get(key))]
    return [LiveGateway(one["pid"], one["url"]) for one in sorted(found, key=lambda one: one["started_at"])]
