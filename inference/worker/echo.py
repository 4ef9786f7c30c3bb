"""The echo harness: deterministic tokens without a model, so that a load test measures the path and not a model.

Refused unless HELEXA_ALLOW_ECHO=1. Each step gives every running request one word.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference import grants
from inference.events import ChoiceReason, Ended, Event, Finished, Started, Text
from inference.requests import GenerationRequest
from inference.worker.harness import Publish

_WORDS = (" the", " quick", " brown", " fox", " jumps", " over", " a", " lazy", " dog")


@dataclass
class _Echo:
    """A request that runs; each of its choices has `words` words."""

    request: GenerationRequest
    prompt_tokens: int
    most_words: int
    words: int = 0

    def step(self) -> list[Event]:
        """One more word for every choice; after the last one the end, by `length` where the grant is what ended it."""
        events: list[Event] = []
        n = self.request.sequences
        if self.words < self.most_words:
            word, total = _WORDS[self.words % len(_WORDS)], self.words * n
            for index in range(n):
                events.append(Text(word, total + index + 1, index))
            self.words += 1
        if self.words == self.most_words:
            events += self._end()
        return events

    def _end(self) -> list[Event]:
        reason: ChoiceReason = "stop" if self.words == self.request.max_tokens else "length"
        total = self.words * self.request.sequences
        ended = [Ended(index, reason, total) for index in range(self.request.sequences)]
        return [*ended, Finished(reason, self.prompt_tokens, total)]

    def cancelled(self) -> Finished:
        return Finished("cancelled", self.prompt_tokens, self.words * self.request.sequences)


@dataclass(frozen=True)
class EchoStatus:
    id: str
    in_flight: int
    queue_depth: int = 0
    limit: None = None


class EchoHarness:
    """Takes any number of requests at once; a choice of so many tokens ends after as many steps by `stop`."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._models: set[str] = set()
        self._inbox: deque[_Echo] = deque()
        self._cancelled: set[str] = set()
        self._running: dict[str, _Echo] = {}
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="echo", daemon=True)
        self._thread.start()

    def load(self, model_id: str, source: str, *, progress: Callable[[str], None]) -> dict[str, object]:
        self._models.add(model_id)
        return {"capabilities": ["text"], "architecture": "echo"}

    def unload(self, model_id: str) -> None:
        self._models.discard(model_id)

    def submit(self, request: GenerationRequest) -> None:
        prompt_tokens = _prompt_words(request)
        if request.only_count:
            self._publish([(request.id, Finished("stop", prompt_tokens, 0))])
            return
        bound = request.max_tokens
        if refusal := grants.refusal(request, prompt_tokens=prompt_tokens, bound=bound):
            self._publish([(request.id, refusal)])
            return
        most_words = grants.most_tokens(request, prompt_tokens=prompt_tokens, bound=bound)
        self._inbox.append(_Echo(request, prompt_tokens, most_words))
        self._wake.set()

    def cancel(self, request_id: str) -> bool:
        self._cancelled.add(request_id)
        return True

    def models(self) -> Sequence[EchoStatus]:
        running = list(self._running.values())
        return [EchoStatus(model, sum(echo.request.model == model for echo in running)) for model in self._models]

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._closing:
            if not self._running and not self._inbox:
                self._cancelled.clear()  # whatever these were meant for has ended by itself
                self._wake.wait()
                self._wake.clear()
            events = self._admit()
            events += self._step()
            if events:
                self._publish(events)

    def _admit(self) -> list[tuple[str, Event]]:
        events: list[tuple[str, Event]] = []
        while self._inbox:
            echo = self._inbox.popleft()
            self._running[echo.request.id] = echo
            events.append((echo.request.id, Started(echo.prompt_tokens)))
        return events

    def _step(self) -> list[tuple[str, Event]]:
        events: list[tuple[str, Event]] = []
        for request_id, echo in list(self._running.items()):
            step = [echo.cancelled()] if request_id in self._cancelled else echo.step()
            for event in step:
                events.append((request_id, event))
            if type(step[-1]) is Finished:
                self._cancelled.discard(request_id)
                del self._running[request_id]
        return events


def _prompt_words(request: GenerationRequest) -> int:
    texts = [message.get("content") or "" for message in request.messages] or request.prompts
    return sum(len(text.split()) if isinstance(text, str) else len(text) for text in texts)
