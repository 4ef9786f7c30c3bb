"""What comes out of a model: events, not text (MISSION N5). Every wire dialect is a projection of this one stream.

The order of one request's events is `Started`, `PromptLogprobs` where they were asked for, any number of `Reasoning`,
`Text`, `CallBegun` and `CallArguments`, one `Ended` for each of its choices after the choice's last piece, then exactly
one of `Finished` and `Failed`. A
request that is refused has only `Failed`; one that is cancelled or breaks has no `Ended` for the choices that were
open. Counts are the engine's own, cumulative over all choices: the request's total at that moment, by which it is
billed if nothing follows.
On the wire each event is a small msgpack array, led by its tag.
"""

from __future__ import annotations

from typing import Literal

import msgspec

#: Why a choice ended: by itself or a stop string, at its bound, or by itself with a complete call of a tool.
ChoiceReason = Literal["stop", "length", "tool_calls"]
#: Why a request ended: `length` if any of its choices ended so, else `tool_calls` if any did.
FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]


class Started(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The request passed every check a neuron makes and its first prefill chunk is scheduled: the 200 may leave.

    `cached_tokens` are those of the prompt that were in memory and not computed again; a model may price them lower.
    """

    prompt_tokens: int
    cached_tokens: int = 0


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """A token and its log-probability, as the model gave it: before temperature, penalties, bias, cuts and grammar.

    `spelling` is the token's own bytes, which may be no whole characters. `top` holds the likeliest tokens, the
    likeliest first, their own `top` empty. `logprob` may be minus infinity; it is None for the first token of a prompt,
    which nothing comes before.
    """

    token: int
    spelling: bytes
    logprob: float | None
    top: list[TokenLogprob] = []


class PromptLogprobs(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The next tokens of a prompt, in order, a piece for each step that read some. Once for all its choices."""

    tokens: list[TokenLogprob]
    prompt: int = 0


class Text(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Visible text of one choice: whole characters only, never a part of a stop string.

    `logprobs`, where they were asked for, are of the tokens that are in the text of this choice by now and were not
    before. The text is empty only where tokens are left that no text came of.
    """

    text: str
    completion_tokens: int
    index: int = 0
    logprobs: list[TokenLogprob] = []


class Reasoning(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """What one choice thinks before it answers, without the markers around it: whole characters only.

    `reasoning_tokens` are those of all choices so far, and are among the `completion_tokens`.
    """

    text: str
    completion_tokens: int
    reasoning_tokens: int
    index: int = 0
    logprobs: list[TokenLogprob] = []


class CallBegun(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """One choice calls a tool. Its calls are numbered from 0, and `call` is over where the next piece is none of it."""

    name: str
    completion_tokens: int
    index: int = 0
    call: int = 0


class CallArguments(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The next characters of a call's arguments. All of them together are the JSON of an object, unless cut by length.

    A call the model was free to make comes whole: one of these right after its `CallBegun`.
    """

    text: str
    completion_tokens: int
    index: int = 0
    call: int = 0


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """One choice is complete; the others may go on. `stop` is the stop string that ended it, if one did."""

    index: int
    reason: ChoiceReason
    completion_tokens: int
    stop: str | None = None


class Finished(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The end of a request that ran. `prompt_tokens` counts the prompt once, however many choices continue it.

    `completion_tokens` counts every token sampled for any choice, also those that ended one.
    """

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The end of a request that was refused or broke. `code` is one of MISSION G12's, or None where none fits.

    `diagnostics` ride inside the client's error object. What had been generated until then is counted. `retry_after_s`
    is for what may be sent again, and `status` is there where the code alone does not say it. `param` is the field of
    the request that is at fault, by its name in Chat Completions; other dialects translate it. One code is for the
    gateway alone, which extends the reservation or refuses the client: `grant_exceeded`.
    """

    code: str | None
    message: str
    diagnostics: dict[str, int | str] = {}
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    param: str | None = None
    retry_after_s: int | None = None
    status: int | None = None
    reasoning_tokens: int = 0


#: What a choice is made of.
Piece = Reasoning | Text | CallBegun | CallArguments

Event = Started | PromptLogprobs | Piece | Ended | Finished | Failed

#: The last event of a request is one of these, and there is exactly one of them.
FINAL = (Finished, Failed)
