"""The echo harness keeps to `n` and to grants as the engine does."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from inference import grants
from inference.events import FINAL, Ended, Event, Failed, Finished, Started, Text
from inference.requests import GenerationRequest
from inference.worker.echo import EchoHarness


class Run:
    """One harness and what it publishes."""

    def __init__(self) -> None:
        self._published: queue.SimpleQueue[Sequence[tuple[str, Event]]] = queue.SimpleQueue()
        self.harness = EchoHarness(self._published.put)

    def events(self, **fields: Any) -> list[Event]:
        """All events of a request with a prompt of two tokens."""
        asked = {"messages": [{"role": "user", "content": "a b"}]} | fields
        self.harness.submit(GenerationRequest(id="x", model="m", **asked))
        events: list[Event] = []
        while not events or not isinstance(events[-1], FINAL):
            events += [event for _, event in self._published.get(timeout=10)]
        return events


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.harness.close()


def test_choices_have_their_words_and_one_end(run: Run) -> None:
    assert run.events(n=2, max_tokens=2) == [
        Started(2),
        *(Text(" the", 1, 0), Text(" the", 2, 1), Text(" quick", 3, 0), Text(" quick", 4, 1)),
        *(Ended(0, "stop", 4), Ended(1, "stop", 4)),
        Finished("stop", 2, 4),
    ]


def test_each_prompt_has_its_choices(run: Run) -> None:
    events = run.events(messages=[], prompts=["a b c", [1, 2]], n=2, max_tokens=1)
    assert events[0] == Started(5)
    assert [event.index for event in events if isinstance(event, Ended)] == [0, 1, 2, 3]
    assert events[-1] == Finished("stop", 5, 4)


def test_a_count_is_all_that_comes_where_it_is_asked_for(run: Run) -> None:
    assert run.events(only_count=True, granted=0) == [Finished("stop", 2, 0)]


def test_what_may_need_more_than_its_grant_is_refused_with_the_exact_numbers(run: Run) -> None:
    assert run.events(n=3, max_tokens=5, granted=17)[-1] == Finished("stop", 2, 15)
    (refused,) = run.events(n=3, max_tokens=5, granted=16)
    assert isinstance(refused, Failed)
    assert (refused.code, refused.diagnostics) == ("grant_exceeded", {"prompt_tokens": 2, "bound": 5})


@pytest.mark.parametrize(("granted", "made"), [(17, 15), (16, 12), (4, 0), (1, 0)])
def test_no_word_goes_past_the_grant_where_nothing_was_checked(
    run: Run, granted: int, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "refusal", lambda *_args, **_fields: None)
    final = run.events(n=3, max_tokens=5, granted=granted)[-1]
    assert final == Finished("stop" if made == 15 else "length", 2, made)
