"""The sampler in plain Python and double precision, written from the definitions and not from the engine's code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from inference.requests import Sampling

WORD = 2**64


def adjusted(logits: Sequence[float], sampling: Sampling, prompt: Sequence[int], output: Sequence[int]) -> list[float]:
    """After penalties and bias: transformers' repetition penalty, then OpenAI's formula over the output."""
    counts, seen = Counter(output), {*prompt, *output}
    result = []
    for token, logit in enumerate(logits):
        value = logit
        if token in seen:
            penalty = sampling.repetition_penalty
            value = value / penalty if value > 0 else value * penalty
        value -= counts[token] * sampling.frequency_penalty
        value -= float(counts[token] > 0) * sampling.presence_penalty
        result.append(value + sampling.logit_bias.get(token, 0.0))
    return result


def distribution(logits: Sequence[float], sampling: Sampling) -> dict[int, float]:
    """Probability of each token that may be drawn from logits that are adjusted already."""
    order = sorted(range(len(logits)), key=lambda token: -logits[token])
    if sampling.temperature == 0:
        return {order[0]: 1.0}
    weights = {token: math.exp((logits[token] - logits[order[0]]) / sampling.temperature) for token in order}
    likeliest = order[: sampling.top_k] if sampling.top_k > 0 else order
    total = sum(weights[token] for token in likeliest)
    kept, mass = [], 0.0
    for token in likeliest:
        if kept and mass >= sampling.top_p * total:
            break
        kept.append(token)
        mass += weights[token]
    kept = [token for token in kept if weights[token] >= sampling.min_p]
    total = sum(weights[token] for token in kept)
    return {token: weights[token] / total for token in kept}


def perturbed(probabilities: dict[int, float], seed: int, index: int, position: int) -> list[tuple[float, int]]:
    """Log-probability plus Gumbel noise of each token, the highest, which is the one drawn, first."""
    key = mix(mix(mix(seed % WORD) + index * 0x9E3779B97F4A7C15) + (position + 1) * 0x9E3779B97F4A7C15)
    return sorted(((math.log(p) + gumbel(key, token), token) for token, p in probabilities.items()), reverse=True)


def gumbel(key: int, token: int) -> float:
    x = (token + key) % 2**32
    x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
    x ^= key >> 32
    x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
    x ^= x >> 16
    return -math.log(-math.log1p(-(x % 2**31 + 0.5) / 2**31))


def mix(word: int) -> int:
    """SplitMix64."""
    word %= WORD
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)
