"""What a request adds to the model's logits before a token is chosen: penalties and bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from inference.engine.device.transfers import on_device
from inference.requests import Sampling


class Adjustments:
    """The penalties and the bias of one sequence, with the tokens that it has seen.

    First the repetition penalty on the model's own logits, as transformers defines it, over prompt and output; then
    what OpenAI's API adds: frequency and presence penalties over the output, and logit_bias. Kept on the host, so that
    a thread that does not own the device may make it. Raises ValueError for a bias on a token that does not exist.
    """

    def __init__(self, sampling: Sampling, prompt_ids: Sequence[int], *, vocabulary: int) -> None:
        if unknown := [token for token in sampling.logit_bias if not 0 <= token < vocabulary]:
            raise ValueError(f"logit_bias names token {unknown[0]}, but this model's are 0 to {vocabulary - 1}")
        self._repetition = sampling.repetition_penalty
        self._frequency = sampling.frequency_penalty
        self._presence = sampling.presence_penalty
        self._bias_ids = torch.tensor(list(sampling.logit_bias), dtype=torch.int64)
        self._bias = torch.tensor(list(sampling.logit_bias.values()), dtype=torch.float32)
        self._places: dict[int, int] = {}  # of each token seen, in the two tensors below
        # An index beyond the logits would take a CUDA device down.
        prompt = {token for token in prompt_ids if token < vocabulary} if self._repetition != 1 else set()
        self._ids = torch.tensor([*prompt, 0], dtype=torch.int64)
        self._counts = torch.zeros(len(self._ids))
        self._places.update(zip(prompt, range(len(prompt)), strict=True))

    @property
    def any(self) -> bool:
        return self._penalizes or len(self._bias) > 0

    @property
    def _penalizes(self) -> bool:
        return self._repetition != 1 or self._frequency != 0 or self._presence != 0

    def add(self, token: int) -> None:
        """Count a token of the output."""
        if not self._penalizes:
            return
        place = self._places.setdefault(token, len(self._places))
        if place == len(self._ids):
            self._ids = torch.cat([self._ids, torch.zeros_like(self._ids)])
            self._counts = torch.cat([self._counts, torch.zeros_like(self._counts)])
        self._ids[place] = token
        self._counts[place] += 1

    def apply(self, logits: torch.Tensor) -> None:
        """Change the logits of one row, shape (vocabulary,), in place."""
        if self._places:
            seen = len(self._places)
            self._penalize(
                logits, on_device(self._ids[:seen], logits.device), on_device(self._counts[:seen], logits.device)
            )
        if len(self._bias):
            logits[on_device(self._bias_ids, logits.device)] += on_device(self._bias, logits.device)

    def _penalize(self, logits: torch.Tensor, ids: torch.Tensor, counts: torch.Tensor) -> None:
        values = logits[ids]
        values = torch.where(values > 0, values / self._repetition, values * self._repetition)
        values -= self._frequency * counts
        values -= self._presence * (counts > 0)
        logits[ids] = values
