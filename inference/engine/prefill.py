"""The prompt of a request on its device: read once, however many sequences continue it."""

from __future__ import annotations

from copy import deepcopy

import torch
from transformers import Cache

from inference.engine.model import LoadedModel


class Prefill:
    """Keys and values of a prompt, read a part at a time, then handed to `sequences` takers."""

    def __init__(self, model: LoadedModel, prompt_ids: list[int], *, sequences: int) -> None:
        self._model = model
        self._prompt_ids = prompt_ids
        self._takers = sequences
        self._cache: Cache | None = None
        self._logits: torch.Tensor | None = None
        self.read_tokens = 0

    @property
    def unread_tokens(self) -> int:
        return len(self._prompt_ids) - self.read_tokens

    def read(self, tokens: int) -> None:
        """Read the next part of the prompt."""
        if self._cache is None:
            self._cache = self._model.new_cache()
        part = self._prompt_ids[self.read_tokens : self.read_tokens + tokens]
        self._logits = self._model.logits(part, self._cache)
        self.read_tokens += len(part)

    @torch.inference_mode()
    def take(self) -> tuple[torch.Tensor, Cache]:
        """Logits after the whole prompt and its cache, to be continued; the last taker gets the original."""
        assert self._logits is not None
        assert self._cache is not None
        self._takers -= 1
        if self._takers:
            return self._logits, deepcopy(self._cache)
        taken = self._logits, self._cache
        self.release()
        return taken

    def release(self) -> None:
        """Let go of the device's memory."""
        self._logits = self._cache = None
