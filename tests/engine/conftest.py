"""Engines on real, tiny models, and a listener that waits for events."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from inference.engine import Engine
from inference.engine.device.owner import OwnerClosedError
from inference.events import FINAL, Event, Failed, Finished, Text
from inference.policies import AdmissionPolicy
from inference.requests import GenerationRequest, Sampling
from tests.models import tiny_model

WAIT_S = 60


class Listener:
    """A `publish` that keeps every event by request, and lets a test act at one or wait for the last."""

    def __init__(self) -> None:
        self.events: defaultdict[str, list[Event]] = defaultdict(list)
        self.batches: list[Sequence[tuple[str, Event]]] = []
        self.at: Callable[[str, Event], None] = lambda _id, _event: None
        self._changed = threading.Condition()

    def __call__(self, batch: Sequence[tuple[str, Event]]) -> None:
        for request_id, event in batch:
            self.at(request_id, event)
        with self._changed:
            self.batches.append(batch)
            for request_id, event in batch:
                self.events[request_id].append(event)
            self._changed.notify_all()

    def final(self, request_id: str) -> Finished | Failed:
        """Wait for the request's last event, and make sure that it is the last and the only one of its kind."""

        def ended() -> bool:
            return any(isinstance(event, FINAL) for event in self.events[request_id])

        with self._changed:
            assert self._changed.wait_for(ended, WAIT_S), f"no final event, only {self.events[request_id]}"
            finals = [event for event in self.events[request_id] if isinstance(event, FINAL)]
            assert finals == self.events[request_id][-1:]
            return finals[0]

    def text(self, request_id: str) -> str:
        return text_of(self.events[request_id])


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def request_for(
    request_id: str, content: str = "Hello!", *, model: str = "tiny", sampling: Sampling | None = None, **fields: Any
) -> GenerationRequest:
    """A request of one user message; greedy unless told otherwise."""
    return GenerationRequest(
        id=request_id,
        model=model,
        messages=[{"role": "user", "content": content}],
        sampling=sampling or Sampling(temperature=0),
        **fields,
    )


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never ends an answer by itself."""
    return tiny_model(tmp_path_factory.mktemp("models") / "endless", eos=False)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def engine(endless: Path, listener: Listener) -> Iterator[Engine]:
    """An engine that holds the endless model as `tiny`, two requests at a time. It proves that it loses no memory."""
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=2), proves_when_idle=True)
    engine.load("tiny", str(endless))
    yield engine
    with suppress(OwnerClosedError):  # the test closed it
        engine.check()
    engine.close()
