"""What a request has come to, as its events tell: what is billed, whoever counts it."""

from __future__ import annotations

from typing import NamedTuple

from inference.events import Event, Failed, Finished, PromptLogprobs, Reasoning, Started


class Usage(NamedTuple):
    """Tokens, the engine's own counts. `cached_tokens` are those of the prompt that were not computed again.

    `reasoning_tokens` are those of the completion that were thought.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def after(self, event: Event) -> Usage:
        """Counts only rise, and the final event has the last word."""
        match event:
            case Started():
                return self._replace(prompt_tokens=event.prompt_tokens, cached_tokens=event.cached_tokens)
            case Finished() | Failed():
                return Usage(event.prompt_tokens, event.completion_tokens, event.cached_tokens, event.reasoning_tokens)
            case PromptLogprobs():
                return self
        # other events say how many of the completion's tokens there are by now
        thought = event.reasoning_tokens if isinstance(event, Reasoning) else 0
        return self.at_least((0, event.completion_tokens, 0, thought))

    def at_least(self, other: tuple[int, int, int, int]) -> Usage:
        return Usage(*map(max, self, other))
