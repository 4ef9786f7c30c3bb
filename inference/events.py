"""What comes out of a model: events, not text (MISSION N5). Every wire dialect is a projection of this one stream.

The order of one request's events is `Started`, any number of `Text`, then exactly one of `Finished` and `Failed`;
a request that is refused has only `Failed`. Counts are cumulative and are the engine's own.
On the wire each event is a small msgpack array, led by its tag.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FinishReason = Literal["stop", "length", "cancelled"]


class Started(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The request passed every check a neuron makes and its first prefill chunk is scheduled: the 200 may leave."""

    prompt_tokens: int


class Text(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Visible text of one step: whole characters only, never a part of a stop string."""

    text: str
    completion_tokens: int


class Finished(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The end of a request that ran. `completion_tokens` counts every sampled token, also the one that ended it."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The end of a request that was refused or broke. `code` is one of MISSION G12's, or None where none fits.

    `diagnostics` ride inside the client's error object. What had been generated until then is counted.
    """

    code: str | None
    message: str
    diagnostics: dict[str, int | str] = {}
    prompt_tokens: int = 0
    completion_tokens: int = 0


Event = Started | Text | Finished | Failed

#: The last event of a request is one of these, and there is exactly one of them.
FINAL = (Finished, Failed)
