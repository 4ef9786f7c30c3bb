"""Log-probabilities of tokens, as the model gave them: before temperature, penalties, bias and cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from inference.engine.device.transfers import on_device

#: Rows worked on at once: the log-probabilities of a whole prompt would take more memory than its forward pass.
_ROWS_AT_ONCE = 64


class Logprob(NamedTuple):
    """The natural logarithm of a token's probability, and those of the likeliest ones, the likeliest first."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


def logprobs(logits: torch.Tensor, tokens: Sequence[int], *, top: Sequence[int]) -> list[Logprob]:
    """Log-probability of one token for each row of logits (rows, vocabulary), float32, with so many of the top ones.

    The rows may be sequences of a step, or positions of a prompt with the token that follows each. Minus infinity is a
    possible value; each dialect has its own way to say it.
    """
    found: list[Logprob] = []
    for start in range(0, len(tokens), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        found += _of_part(logits[part], tokens[part], top[part])
    return found


def _of_part(logits: torch.Tensor, tokens: Sequence[int], top: Sequence[int]) -> list[Logprob]:
    widest = min(max(top), logits.shape[-1])
    total = logits.logsumexp(dim=-1, keepdim=True)
    highest = logits.topk(widest, dim=-1)
    chosen = logits.gather(1, on_device(torch.tensor(tokens), logits.device)[:, None]) - total
    values = torch.cat([chosen, highest.values - total], dim=1).tolist()
    return [
        Logprob(token, own, list(zip(ids[:asked], likeliest, strict=False)))
        for token, (own, *likeliest), ids, asked in zip(tokens, values, highest.indices.tolist(), top, strict=True)
    ]
