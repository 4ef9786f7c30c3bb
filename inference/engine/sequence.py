"""One request on the device, from its prompt to the event that ends it."""

from __future__ import annotations

import torch
from transformers import Cache

from inference.engine.detokenizer import Detokenizer
from inference.engine.model import LoadedModel
from inference.engine.sampler import Sampler
from inference.engine.stops import StopStrings
from inference.events import Event, Failed, Finished, FinishReason, Started, Text
from inference.requests import GenerationRequest


class Sequence:
    """Advanced by the owner thread only; made, queued and flagged by others.

    `bound` is the most tokens it may sample: what was asked for, cut to what the context leaves after the prompt.
    """

    def __init__(self, request: GenerationRequest, model: LoadedModel, prompt_ids: list[int]) -> None:
        self.id = request.id
        self._sampling = request.sampling
        self.model = model
        self.running = False
        self.ended = False
        self.completion_tokens = 0
        self.bound = min(request.max_tokens, model.facts.context_tokens - len(prompt_ids))
        self._prompt_ids = prompt_ids
        self._computed_tokens = 0
        self._next_id: int | None = None
        self._cache: Cache | None = None
        self._sampler: Sampler | None = None
        self._detokenizer = Detokenizer(model.tokenizer, prompt_ids)
        self._stops = StopStrings(request.stop)

    @property
    def prompt_tokens(self) -> int:
        return len(self._prompt_ids)

    @property
    def unread_tokens(self) -> int:
        """Prompt tokens that the model has not read yet; 0 while it decodes."""
        return max(0, self.prompt_tokens - self._computed_tokens)

    def prefill(self, tokens: int) -> list[Event]:
        """Read the next part of the prompt; the last part also gives the first token."""
        begun = self._computed_tokens
        logits = self._compute(self._prompt_ids[begun : begun + tokens])
        events: list[Event] = [] if begun else [Started(self.prompt_tokens)]
        if self.unread_tokens:
            return events
        if self.bound < 1:
            return [*events, self._finished("length")]
        return events + self._accept(logits)

    def decode(self) -> list[Event]:
        """Read the token that was sampled last and sample the next."""
        assert self._next_id is not None
        return self._accept(self._compute([self._next_id]))

    def cancelled(self) -> Finished:
        """The end of a sequence whose cancel flag was seen. A prompt that was never begun counts as none."""
        return self._finished("cancelled")

    def failed(self, code: str | None, message: str) -> Failed:
        """The end of a sequence that cannot go on."""
        return Failed(code, message, {}, self._billable_prompt_tokens, self.completion_tokens)

    def release(self) -> None:
        """Let go of the device's memory, and of a place in a step."""
        self.ended, self.running = True, False
        self._cache = self._sampler = None

    @property
    def _billable_prompt_tokens(self) -> int:
        return self.prompt_tokens if self._computed_tokens else 0

    def _finished(self, reason: FinishReason) -> Finished:
        return Finished(reason, self._billable_prompt_tokens, self.completion_tokens)

    def _compute(self, token_ids: list[int]) -> torch.Tensor:
        if self._cache is None:
            self._cache = self.model.new_cache()
        logits = self.model.logits(token_ids, self._cache)
        self._computed_tokens += len(token_ids)
        return logits

    def _accept(self, logits: torch.Tensor) -> list[Event]:
        if self._sampler is None:
            self._sampler = Sampler(self._sampling, logits.device)
        token_id = self._sampler.choose(logits)
        self.completion_tokens += 1
        self._next_id = token_id
        if token_id in self.model.end_token_ids:
            return self._end_text("stop", "")
        visible = self._stops.push(self._detokenizer.push(token_id))
        if self._stops.hit or self.completion_tokens >= self.bound:
            return self._end_text("length", visible)
        return self._text(visible)

    def _end_text(self, reason: FinishReason, visible: str) -> list[Event]:
        visible += self._stops.push(self._detokenizer.flush()) + self._stops.flush()
        return [*self._text(visible), self._finished("stop" if self._stops.hit else reason)]

    def _text(self, visible: str) -> list[Event]:
        return [Text(visible, self.completion_tokens)] if visible else []
