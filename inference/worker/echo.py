"""The echo harness: deterministic tokens without a model, so that a load test measures the path and not a model.

Refused unless HELEXA_ALLOW_ECHO=1. Each step gives every running request one word.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.events import Event, Finished, Started, Text
from inference.requests import GenerationRequest
from inference.worker.harness import Publish

_WORDS = (" the", " quick", " brown", " fox", " jumps", " over", " a", " lazy", " dog")


@dataclass
class _Echo:
    request: GenerationRequest
    prompt_tokens: int
    made: int = 0


@dataclass(frozen=True)
class EchoStatus:
    id: str
    in_flight: int
    queue_depth: int = 0


class EchoHarness:
    """Takes any number of requests at once; a request of n tokens ends after n steps by `stop`."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._models: set[str] = set()
        self._inbox: deque[GenerationRequest] = deque()
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
        self._inbox.append(request)
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
            request = self._inbox.popleft()
            prompt_tokens = sum(len((message.get("content") or "").split()) for message in request.messages)
            self._running[request.id] = _Echo(request, prompt_tokens)
            events.append((request.id, Started(prompt_tokens)))
        return events

    def _step(self) -> list[tuple[str, Event]]:
        events: list[tuple[str, Event]] = []
        for request_id, echo in list(self._running.items()):
            if request_id in self._cancelled:
                self._cancelled.discard(request_id)
                events.append((request_id, Finished("cancelled", echo.prompt_tokens, echo.made)))
            else:
                events.append((request_id, Text(_WORDS[echo.made % len(_WORDS)], echo.made + 1)))
                echo.made += 1
                if echo.made < echo.request.max_tokens:
                    continue
                events.append((request_id, Finished("stop", echo.prompt_tokens, echo.made)))
            del self._running[request_id]
        return events
