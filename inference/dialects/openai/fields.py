"""What Chat Completions and Completions say alike: how to sample, where to stop, how to stream (WIRE_APIS 1.1).

The vendor extras `top_k`, `min_p` and `repetition_penalty` are vLLM's.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from inference.refusals import invalid
from inference.requests import Sampling

#: More stop strings than this are refused, as OpenAI documents.
MAX_STOP_STRINGS = 4

#: No model has a context like this; it keeps absurd bounds within what every part can count.
UNBOUNDED = 2**31 - 1

#: No vocabulary has a token of more digits.
_MOST_DIGITS = 9

Tokens = Annotated[int, Meta(ge=0)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
#: Logits are divided by it: a smaller one makes them infinite.
Repetition = Annotated[float, Meta(ge=0.01, le=2)]
_Fraction = Annotated[float, Meta(ge=0, le=1)]


class StreamOptions(msgspec.Struct):
    """Nothing here is obfuscated, whether it is asked for or not."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Fields(msgspec.Struct, kw_only=True):
    """Null is the same as absent."""

    model: str | None = None
    max_tokens: Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: _Fraction | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    min_p: _Fraction | None = None
    repetition_penalty: Repetition | None = None


def sampling(fields: Fields, *, logprobs: int | None) -> Sampling:
    """Raises Refusal (400) naming a bias of what is no token."""
    return Sampling(
        temperature=1.0 if fields.temperature is None else fields.temperature,
        top_p=1.0 if fields.top_p is None else fields.top_p,
        seed=fields.seed,
        top_k=min(fields.top_k or 0, UNBOUNDED),
        min_p=fields.min_p or 0.0,
        presence_penalty=fields.presence_penalty or 0.0,
        frequency_penalty=fields.frequency_penalty or 0.0,
        repetition_penalty=1.0 if fields.repetition_penalty is None else fields.repetition_penalty,
        logit_bias={_token(name): bias for name, bias in (fields.logit_bias or {}).items()},
        logprobs=logprobs,
    )


def _token(name: str) -> int:
    if not (name.isascii() and name.isdecimal() and len(name) <= _MOST_DIGITS):
        raise invalid(f"The field `logit_bias` takes ids of tokens, not `{name[:40]}`.", "logit_bias")
    return int(name)


def stop_strings(stop: str | list[str] | None) -> list[str]:
    """Raises Refusal (400) for too many."""
    strings = [stop] if isinstance(stop, str) else stop or []
    if len(strings) > MAX_STOP_STRINGS:
        raise invalid(f"The field `stop` takes at most {MAX_STOP_STRINGS} strings; got {len(strings)}.", "stop")
    return [string for string in strings if string]  # an empty string would stop everything: it says nothing


def wants_usage(fields: Fields) -> bool:
    """Whether the usage of a stream comes in a chunk of its own."""
    return bool(fields.stream_options and fields.stream_options.include_usage)
