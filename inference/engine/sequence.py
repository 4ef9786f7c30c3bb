"""One choice of a request on the device, from the end of its prompt to its own end."""

from __future__ import annotations

from typing import NamedTuple

import torch
from transformers import Cache

from inference.engine.detokenizer import Detokenizer
from inference.engine.model import LoadedModel
from inference.engine.prefill import Prefill
from inference.engine.sampler import Sampler
from inference.engine.stops import StopStrings
from inference.events import ChoiceReason
from inference.requests import GenerationRequest


class Piece(NamedTuple):
    """What one step of a sequence brought: text that may be shown, and the reason if the sequence ended with it."""

    text: str
    end: ChoiceReason | None = None


class Sequence:
    """Advanced by the owner thread only; made by others. It never samples more than `most_tokens`."""

    def __init__(
        self, index: int, request: GenerationRequest, model: LoadedModel, prompt_ids: list[int], *, most_tokens: int
    ) -> None:
        self.index = index
        self.running = False
        self.ended = False
        self.completion_tokens = 0
        self._most_tokens = most_tokens
        self._sampling = request.sampling
        self._model = model
        self._next_id: int | None = None
        self._cache: Cache | None = None
        self._sampler: Sampler | None = None
        self._detokenizer = Detokenizer(model.tokenizer, prompt_ids)
        self._stops = StopStrings(request.stop)

    def begin(self, prefill: Prefill) -> Piece:
        """Sample the first token, which the prompt itself gives."""
        logits, self._cache = prefill.take()
        self._sampler = Sampler(self._sampling, logits.device, index=self.index)
        return self._accept(logits, self._sampler)

    def decode(self) -> Piece:
        """Read the token that was sampled last and sample the next."""
        assert self._next_id is not None
        assert self._cache is not None
        assert self._sampler is not None
        return self._accept(self._model.logits([self._next_id], self._cache), self._sampler)

    @property
    def begun(self) -> bool:
        return self._cache is not None

    def release(self) -> None:
        """End it, and let go of the device's memory and of a place in a step."""
        self.ended, self.running = True, False
        self._cache = self._sampler = None

    def _accept(self, logits: torch.Tensor, sampler: Sampler) -> Piece:
        if self.completion_tokens >= self._most_tokens:  # the last word of the grant: no token is sampled past it
            return self._end("length", "")
        token_id = sampler.choose(logits)
        self.completion_tokens += 1
        self._next_id = token_id
        if token_id in self._model.end_token_ids:
            return self._end("stop", "")
        visible = self._stops.push(self._detokenizer.push(token_id))
        if self._stops.hit or self.completion_tokens >= self._most_tokens:
            return self._end("length", visible)
        return Piece(visible)

    def _end(self, reason: ChoiceReason, visible: str) -> Piece:
        visible += self._stops.push(self._detokenizer.flush()) + self._stops.flush()
        return Piece(visible, "stop" if self._stops.hit else reason)
