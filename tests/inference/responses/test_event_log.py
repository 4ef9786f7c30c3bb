"""The log of a background response: what a reader finds who comes when it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from inference.gateway.responses.event_log import EventLog

EVENTS = [b"event 0", b"event 1", b"event 2"]


@pytest_asyncio.fixture
async def log(redis_url: str) -> AsyncIterator[EventLog]:
    made = EventLog(redis_url)
    yield made
    await made.stop()


@pytest.mark.parametrize("after", [-1, 0, 1])
async def test_a_reader_gets_what_comes_behind_a_number(log: EventLog, after: int) -> None:
    response = uuid4()
    await log.append(response, 0, EVENTS, end=True)
    found = [frame async for frames in log.follow(response, after) for frame in frames]
    assert found == EVENTS[after + 1 :]


@pytest.mark.parametrize("after", [2, 3, 4, 999_999_999])
async def test_a_reader_does_not_wait_for_what_would_come_behind_the_end(log: EventLog, after: int) -> None:
    """One that waits is told an empty list now and then."""
    response = uuid4()
    await log.append(response, 0, EVENTS, end=True)
    assert await anext(log.follow(response, after), None) is None


async def test_a_reader_waits_for_what_a_running_response_has_not_told_yet(log: EventLog) -> None:
    response = uuid4()
    await log.append(response, 0, EVENTS[:1])
    following = log.follow(response, 0)
    assert await anext(following) == []
    await log.append(response, 1, EVENTS[1:], end=True)
    assert [frame async for frames in following for frame in frames] == EVENTS[1:]
