"""The answer of a Completions request: chunks, or all of it in one body (WIRE_APIS 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from inference.dialects.assembly import Assembly, Choice
from inference.dialects.completions.logprobs import Offsets, logprobs_of, unseen_characters
from inference.dialects.dialect import Content
from inference.dialects.openai.logprobs import finite
from inference.dialects.openai.stream import GOES_ON, ChunkStream, encode
from inference.dialects.openai.usage import SYSTEM_FINGERPRINT, usage
from inference.events import Ended, Finished, PromptLogprobs, Started, Text, TokenLogprob


class CompletionsAnswer(ChunkStream):
    """The events of `best_of` choices for each of the prompts, of which `n` are given: all, where it streams.

    With `echo` the first text of a choice is its prompt, and the prompt's log-probabilities go with it.
    """

    def __init__(
        self,
        request_id: str,
        *,
        model: str,
        created_s: int,
        prompts: int,
        n: int,
        best_of: int,
        logprobs: bool,
        include_usage: bool,
    ) -> None:
        self._about = {
            "id": f"cmpl-{request_id.removeprefix('req_')}",
            "object": "text_completion",
            "created": created_s,
            "model": model,
            "system_fingerprint": SYSTEM_FINGERPRINT,
        }
        super().__init__(self._about, choices=prompts * n, include_usage=include_usage)
        self._texts = [begun + b'"text":' for begun in self.begun]
        self._n = n
        self._best_of = best_of
        self._logprobs = logprobs
        self._prompts: dict[int, list[TokenLogprob]] = {}
        #: By choice; a choice that has one has told of its prompt.
        self._offsets: dict[int, Offsets] = {}

    # -- streamed ------------------------------------------------------------------------------------

    def opening(self, started: Started) -> bytes:
        return b""

    def content(self, event: Content) -> bytes:
        match event:
            case Text():
                return self._text(event.index, event.text, event.logprobs)
            case PromptLogprobs():
                self._prompts.setdefault(event.prompt, []).extend(event.tokens)
            case Ended():
                untold = self._text(event.index, "", [])
                return untold + self.ended(event.index, b'"text":"","logprobs":null', event.reason)
        return b""  # nothing thinks or calls here

    def _text(self, index: int, text: str, tokens: Sequence[TokenLogprob]) -> bytes:
        if not self._logprobs:
            return self._texts[index] + encode(text) + b',"logprobs":null' + GOES_ON if text else b""
        told, offsets = self._told(index, text, tokens)
        if not text and not told:
            return b""
        return self._texts[index] + encode(text) + b',"logprobs":' + encode(logprobs_of(told, offsets)) + GOES_ON

    def _told(self, index: int, text: str, tokens: Sequence[TokenLogprob]) -> tuple[list[TokenLogprob], list[int]]:
        """The tokens of a text, and where they begin. Those of the prompt come with the first one."""
        if index in self._offsets:
            return list(tokens), self._offsets[index].of(tokens)
        offsets = self._offsets[index] = Offsets()
        prompt = self._prompts.get(index // self._n, [])
        before = offsets.of(prompt, unseen=unseen_characters(prompt, text))
        return [*prompt, *tokens], [*before, *offsets.of(tokens)]

    # -- whole ---------------------------------------------------------------------------------------

    def whole(self, assembly: Assembly, started: Started, finished: Finished) -> bytes:
        """Choices in order, prompt by prompt."""
        self._prompts = assembly.prompts
        made: list[dict[str, Any]] = []
        choices = assembly.choices
        for first in range(0, len(choices), self._best_of):
            for choice in self._best(choices[first : first + self._best_of]):
                made.append(self._choice(len(made), choice))
        return encode({**self._about, "choices": made, "usage": usage(finished)})

    def _best(self, choices: Sequence[Choice]) -> Sequence[Choice]:
        """The `n` whose tokens were the likeliest on average; among equals the first."""
        if len(choices) == self._n:
            return choices
        return sorted(choices, key=_mean_logprob, reverse=True)[: self._n]

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        text, tokens = choice.text_of("text"), choice.logprobs
        logprobs = logprobs_of(*self._told(index, text, tokens)) if self._logprobs else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": choice.reason}


def _mean_logprob(choice: Choice) -> float:
    """Of an answer of no tokens too: it is as likely as can be said of it, the least."""
    logprobs = [finite(token.logprob or 0.0) for token in choice.logprobs]
    return sum(logprobs) / len(logprobs) if logprobs else -math.inf
