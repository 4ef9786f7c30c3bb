"""From logits to the next token."""

from __future__ import annotations

import torch

from inference.requests import Sampling

_SEEDS = 2**64  # what a torch generator takes; a seed beyond that is folded into it
#: Sets the seeds of a request's choices apart, also in the lower 32 bits, which are all that the CPU's generator reads.
_NEXT_CHOICE = 0x9E3779B97F4A7C15


class Sampler:
    """Chooses tokens for one choice of a request, by `index`. Its random numbers are its own, keyed by seed and index.

    So no neighbour changes what it draws, and the first choice of several is the answer that one alone would be.
    """

    def __init__(self, sampling: Sampling, device: torch.device, *, index: int = 0) -> None:
        self._sampling = sampling
        self._generator = torch.Generator(device)
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed((sampling.seed + index * _NEXT_CHOICE) % _SEEDS)

    def choose(self, logits: torch.Tensor) -> int:
        """The next token for float32 logits of shape (vocabulary,)."""
        highest, token = logits.max(dim=-1)
        # Checked here because drawing from such numbers takes a whole CUDA device down, not only this request.
        if not torch.isfinite(highest):
            raise FloatingPointError("the model's logits are not finite")
        if self._sampling.temperature == 0:
            return int(token)
        probabilities = torch.softmax((logits - highest) / self._sampling.temperature, dim=-1)
        if self._sampling.top_p < 1:
            probabilities = nucleus(probabilities, self._sampling.top_p)
        return int(torch.multinomial(probabilities, 1, generator=self._generator))


def nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zero all but the smallest set of most likely tokens that together reach `top_p`; the first always stays."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    keep = before < top_p
    keep[0] = True
    return torch.zeros_like(probabilities).scatter(0, order[keep], ordered[keep])
