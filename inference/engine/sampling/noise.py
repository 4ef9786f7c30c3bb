"""Random numbers that depend on nothing but their key: seed, choice, position, token.

A counter-based generator has no state that a neighbour in the batch could advance, and a sequence that is computed
again after a preemption draws what it drew before.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import torch

from inference.engine.device.transfers import on_device

_WORD = 2**64
_STEP = 0x9E3779B97F4A7C15  # SplitMix64's increment (Steele, Lea and Flood, OOPSLA 2014)

# A 32-bit integer hash of full avalanche: "lowbias32" of Chris Wellons' hash-prospector. Multipliers as int32.
_FIRST_MULTIPLIER = 0x7FEB352D
_SECOND_MULTIPLIER = 0x846CA68B - 2**32

#: Just under 2**-31: float32 rounds the largest integers up to 2**31, and a uniform number of 1 would be no noise.
_TO_UNIT = (1 - 2**-24) * 2**-31


def stream(seed: int | None, choice: int) -> int:
    """The 64 bits that one choice of a request draws by. Any integer is a seed; None takes one from the system."""
    start = secrets.randbits(64) if seed is None else seed % _WORD
    return _mixed(_mixed(start) + choice * _STEP)


def key(stream: int, position: int) -> int:
    """The 64 bits for one position of a stream: SplitMix64's output number `position`."""
    return _mixed(stream + (position + 1) * _STEP)


def gumbel(keys: Sequence[int], vocabulary: int, device: torch.device) -> torch.Tensor:
    """Standard Gumbel noise, float32 of shape (keys, vocabulary); finite everywhere.

    The token of the highest sum of log-probability and noise is a draw from the distribution. Noise instead of one
    number on the cumulated distribution, because there the last bits of any logit would shift every later token.
    """
    # The exponential variate comes from log1p, which keeps small ones apart: those are the ones that win.
    exponential = _uniform(keys, vocabulary, device).neg_().log1p_().neg_()
    return exponential.log_().neg_()


def _uniform(keys: Sequence[int], vocabulary: int, device: torch.device) -> torch.Tensor:
    """Numbers in (0, 1), in steps of 2**-31 near 0."""
    words = on_device(torch.tensor(keys, dtype=torch.uint64).view(torch.int32).view(-1, 2), device)
    low, high = words[:, :1], words[:, 1:]
    bits = torch.arange(vocabulary, dtype=torch.int32, device=device) + low
    bits ^= _shifted(bits, 16)
    bits *= _FIRST_MULTIPLIER
    bits ^= high
    bits ^= _shifted(bits, 15)
    bits *= _SECOND_MULTIPLIER
    bits ^= _shifted(bits, 16)
    bits &= 0x7FFFFFFF
    return bits.to(torch.float32).add_(0.5).mul_(_TO_UNIT)


def _shifted(bits: torch.Tensor, by: int) -> torch.Tensor:
    """A logical shift to the right; torch's own copies the sign."""
    return (bits >> by).bitwise_and_((1 << (32 - by)) - 1)


def _mixed(word: int) -> int:
    """SplitMix64's output function."""
    word %= _WORD
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % _WORD
    return word ^ (word >> 31)
