"""What an operator sets of a neuron's limits: the numbers of MISSION N13 to N15, each a setting (G18)."""

from __future__ import annotations

import msgspec


class AdmissionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How much a model takes at a time.

    `max_in_flight` sequences compute in one step and `max_queue_depth` requests wait for that, none longer than
    `max_wait_s`. `max_per_principal` requests of one key are here, waiting or running; 0 is no limit, since the
    scheduler is fair in tokens. A prefill needs `min_free_mb` of the device, the free part of the pool included; None
    is 1500 on a GPU and nothing on a CPU, whose memory is the host's.
    """

    max_in_flight: int = 16
    max_queue_depth: int = 64
    max_wait_s: float = 30.0
    max_per_principal: int = 0
    min_free_mb: int | None = None


class ContextPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the context of a model is derived from; see `inference.engine.limits.limits`.

    A prompt is read within `target_prefill_s` at the measured speed, `assumed_prefill_rate` tokens per second until
    one is measured. On a GPU `headroom_mb` and `floor_mb` stay free beside weights and pool; on a CPU the pool takes
    `cpu_share` of the available memory. `max_tokens` is the operator's clamp of prompt and answer together.
    `derive` false advertises no limit.
    """

    derive: bool = True
    target_prefill_s: float = 120.0
    assumed_prefill_rate: float = 800.0
    headroom_mb: int = 2048
    floor_mb: int = 1500
    cpu_share: float = 0.25
    max_tokens: int | None = None


DEFAULT_ADMISSION = AdmissionPolicy()
DEFAULT_CONTEXT = ContextPolicy()
