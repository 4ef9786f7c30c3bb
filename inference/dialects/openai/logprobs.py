"""Log-probabilities as Chat Completions and Responses give them: token, bytes, the likeliest others (WIRE_APIS 1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.events import TokenLogprob

#: What stands for minus infinity, which JSON cannot say.
LEAST = -9999.0


def logprobs_of(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """A token that is no whole character is spelled with replacement characters; its bytes are exact."""
    return [{**_one(token), "top_logprobs": [_one(top) for top in token.top]} for token in tokens]


def finite(logprob: float) -> float:
    return max(logprob, LEAST)


def _one(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.spelling.decode(errors="replace"),
        "logprob": LEAST if token.logprob is None else finite(token.logprob),
        "bytes": list(token.spelling),
    }
