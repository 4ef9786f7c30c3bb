"""An attempt's events on their way to whoever asked: what is sent when, and what happens when it breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from fleet.reports import NeuronReport
from inference.dialects import completions
from inference.dialects.chat.request import parse
from inference.events import Ended, Event, Failed, Finished, PromptLogprobs, Started, Text
from inference.gateway.attempts import Attempt
from inference.gateway.delivery import Delivery
from inference.gateway.meter import Meter
from inference.gateway.recipient import Broken
from inference.refusals import Refusal
from tests.inference.chat.chat_stream import answer_of

LONG_S = 60.0
ANSWER: list[Event] = [Started(3), Text("a", 1), Text("b", 2), Ended(0, "stop", 3), Finished("stop", 3, 3)]


class Client:
    """Takes what it is sent, and notes when a settle was asked for."""

    id = UUID(int=10)
    request_id = "req_0a"

    def __init__(self) -> None:
        self.status: int | None = None
        self.attempt: Attempt | None = None
        self.facts: dict[str, Any] = {}
        self.sent: list[bytes] = []
        self.news = asyncio.Event()

    async def answer(self, body: bytes) -> None:
        self.status = 200
        self._take(body)

    async def open_stream(self, broken: Broken) -> None:
        self.status = 200

    async def send(self, frames: bytes) -> None:
        self._take(frames)

    async def send_last(self, frames: bytes) -> None:
        self._take(frames)

    async def settled(self) -> None:
        self._take(b"<settled>")

    def _take(self, frames: bytes) -> None:
        assert frames, "nothing is not sent"
        self.sent.append(frames)
        self.news.set()

    async def until(self, seen: Callable[[bytes], bool]) -> None:
        async with asyncio.timeout(20):
            while not seen(b"".join(self.sent)):
                self.news.clear()
                await self.news.wait()


def attempt() -> Attempt:
    report = NeuronReport("n", "boot", "host", "os", 0.0, 0.0, [], {}, [], [], [])
    return Attempt("r.0", model="m", neuron=report, key_pk=None)


async def first_events(running: Attempt) -> list[Event]:
    """What a call waits for before it delivers."""
    running.push(0, ANSWER[0])
    return await running.events()


def push_the_rest(running: Attempt) -> None:
    for seq, event in enumerate(ANSWER[1:], 1):
        running.push(seq, event)


def delivery(client: Client, running: Attempt, *, stream: bool, keep_alive_s: float = LONG_S) -> Delivery:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    return Delivery(
        client,
        parse(json.dumps(body).encode(), {}.get),
        running,
        meter=Meter("m"),
        keep_alive_s=keep_alive_s,
        before_end=client.settled,
    )


@asynccontextmanager
async def under_way(work: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(work)
    try:
        yield task  # type: ignore[misc]
    finally:
        task.cancel()


async def test_events_of_one_step_are_sent_together_and_the_last_bytes_after_the_settle() -> None:
    client, running = Client(), attempt()
    events = await first_events(running)
    push_the_rest(running)
    await delivery(client, running, stream=True).run(events)
    opening, settled, last = client.sent
    assert (b"assistant" in opening, settled, last[-14:]) == (True, b"<settled>", b"data: [DONE]\n\n")
    message = answer_of(opening + last)["choices"][0]["message"]
    assert message["content"] == "ab"


async def test_a_whole_answer_is_sent_once_after_the_settle() -> None:
    client = Client()
    await delivery(client, attempt(), stream=False).run(ANSWER)
    settled, body = client.sent
    assert settled == b"<settled>"
    assert json.loads(body)["choices"][0]["message"]["content"] == "ab"


async def test_a_silence_is_filled_until_the_next_event_and_a_whole_answer_stays_silent() -> None:
    client, running = Client(), attempt()
    events = await first_events(running)
    async with under_way(delivery(client, running, stream=True, keep_alive_s=0.02).run(events)) as task:
        await client.until(lambda sent: sent.count(b": keep-alive\n\n") >= 3)
        push_the_rest(running)
        await task
    sent = b"".join(client.sent).replace(b"<settled>", b"")
    assert sent.startswith(b"data: "), "nothing comes before the role"
    assert answer_of(sent)["choices"][0]["message"]["content"] == "ab"

    quiet, running = Client(), attempt()
    events = await first_events(running)
    async with under_way(delivery(quiet, running, stream=False, keep_alive_s=0.0).run(events)) as task:
        for _ in range(10):
            await asyncio.sleep(0)
        push_the_rest(running)
        await task
    assert len(quiet.sent) == 2


async def test_events_that_say_nothing_do_not_put_off_what_fills_a_silence() -> None:
    client, running = Client(), attempt()
    events, seq = await first_events(running), 1
    async with under_way(delivery(client, running, stream=True, keep_alive_s=0.1).run(events)):
        while not any(b": keep-alive" in frames for frames in client.sent):
            running.push(seq, PromptLogprobs([]))
            seq += 1
            await asyncio.sleep(0.01)
            assert seq < 2000


async def test_a_stream_that_opens_without_a_word_has_not_been_silent_yet() -> None:
    client, running = Client(), attempt()
    events = await first_events(running)
    request = completions.parse(b'{"model": "m", "prompt": "hi", "stream": true}', {}.get)
    async with under_way(
        Delivery(client, request, running, meter=Meter("m"), keep_alive_s=LONG_S, before_end=client.settled).run(events)
    ) as task:
        for _ in range(10):
            await asyncio.sleep(0)
        push_the_rest(running)
        await task
    assert b"keep-alive" not in b"".join(client.sent)


async def test_what_was_made_before_it_broke_is_sent() -> None:
    client = Client()
    with pytest.raises(Refusal, match="gone"):
        await delivery(client, attempt(), stream=True).run([*ANSWER[:3], Failed("service_unavailable", "gone")])
    assert b'"content":"b"' in b"".join(client.sent)
    assert b"<settled>" not in client.sent


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("final", [Failed(None, "no"), Finished("cancelled", 3, 0)])
async def test_what_ends_before_it_starts_is_refused_before_anything_is_sent(final: Event, stream: bool) -> None:
    client = Client()
    with pytest.raises(Refusal):
        await delivery(client, attempt(), stream=stream).run([final])
    assert (client.sent, client.status) == ([], None)
