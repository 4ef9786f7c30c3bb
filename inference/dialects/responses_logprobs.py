"""Log-probabilities in the shape of `output_text.logprobs`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from inference.events import TokenLogprob

#: What stands for minus infinity, which JSON cannot say.
LEAST = -9999.0


def logprobs_of(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    return [{**_one(token), "top_logprobs": [_one(top) for top in token.top]} for token in tokens]


def _one(token: TokenLogprob) -> dict[str, Any]:
    logprob = token.logprob
    return {
        "token": token.spelling.decode(errors="replace"),
        "bytes": list(token.spelling),
        "logprob": LEAST if logprob is None or math.isinf(logprob) else logprob,
    }
