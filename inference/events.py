"""What comes out of a model: events, not text (MISSION N5). Every wire dialect is a projection of this one stream.

The order of one request's events is `Started`, any number of `Text`, one `Ended` for each of its `n` choices after the
choice's last `Text`, then exactly one of `Finished` and `Failed`. A request that is refused has only `Failed`; one that
is cancelled or breaks has no `Ended` for the choices that were open. Counts are the engine's own, cumulative over all
choices: the request's total at that moment, by which it is billed if nothing follows.
On the wire each event is a small msgpack array, led by its tag.
"""

from __future__ import annotations

from typing import Literal

import msgspec

#: Why a choice ended: by itself or a stop string, or at its bound.
ChoiceReason = Literal["stop", "length"]
#: Why a request ended: `length` if any of its choices ended so.
FinishReason = Literal["stop", "length", "cancelled"]


class Started(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The request passed every check a neuron makes and its first prefill chunk is scheduled: the 200 may leave.

    `cached_tokens` are those of the prompt that were in memory and not computed again; they are billed like the others.
    """

    prompt_tokens: int
    cached_tokens: int = 0


class Text(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Visible text of one choice: whole characters only, never a part of a stop string."""

    text: str
    completion_tokens: int
    index: int = 0


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """One choice is complete; the others may go on."""

    index: int
    reason: ChoiceReason
    completion_tokens: int


class Finished(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The end of a request that ran. `prompt_tokens` counts the prompt once, however many choices continue it.

    `completion_tokens` counts every token sampled for any choice, also those that ended one.
    """

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The end of a request that was refused or broke. `code` is one of MISSION G12's, or None where none fits.

    `diagnostics` ride inside the client's error object. What had been generated until then is counted.
    One code is for the gateway alone, which extends the reservation or refuses the client: `grant_exceeded`.
    """

    code: str | None
    message: str
    diagnostics: dict[str, int | str] = {}
    prompt_tokens: int = 0
    completion_tokens: int = 0


Event = Started | Text | Ended | Finished | Failed

#: The last event of a request is one of these, and there is exactly one of them.
FINAL = (Finished, Failed)
