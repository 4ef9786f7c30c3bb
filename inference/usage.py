"""What a request has come to, as its events tell: what is billed, whoever counts it."""

from __future__ import annotations

from typing import NamedTuple

from inference.events import Ended, Event, Failed, Finished, PromptLogprobs, Started, Text


class Usage(NamedTuple):
    """Tokens, the engine's own counts. `cached_tokens` are those of the prompt that were not computed again."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def after(self, event: Event) -> Usage:
        """Counts only rise, and the final event has the last word."""
        match event:
            case Started():
                return self._replace(prompt_tokens=event.prompt_tokens, cached_tokens=event.cached_tokens)
            case Finished() | Failed():
                return Usage(event.prompt_tokens, event.completion_tokens, event.cached_tokens)
            case Text() | Ended():
                return self._replace(completion_tokens=max(self.completion_tokens, event.completion_tokens))
            case PromptLogprobs():
                return self

    def at_least(self, other: tuple[int, int, int]) -> Usage:
        return Usage(*map(max, self, other))
