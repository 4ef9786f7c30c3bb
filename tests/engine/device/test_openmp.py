"""Threads that torch computes with end where they would slow down others: whoever stops computing gives them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from inference.engine import Engine
from inference.engine.device import openmp
from inference.engine.device.owner import DeviceOwner
from tests.engine.conftest import WAIT_S, request_for


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Of torch, however many CPUs there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
    openmp.give_back()


def threads() -> set[Path]:
    return set(Path("/proc/self/task").iterdir())


def started_by(work: Callable[[], object]) -> set[Path]:
    """The threads that work left behind."""
    before = threads()
    work()
    return threads() - before


def compute() -> None:
    """Something large enough for workers."""
    torch.set_num_threads(2)  # of the thread that calls
    torch.zeros(1_000_000).add_(1)


def until(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def gone(ended: set[Path]) -> bool:
    return until(lambda: not ended & threads())


def test_a_thread_gives_its_workers_back_and_starts_others_when_it_computes_again() -> None:
    workers = started_by(compute)
    assert workers
    openmp.give_back()
    assert gone(workers)
    assert started_by(compute)


def test_who_submits_has_no_workers_beside_those_of_the_engine(engine: Engine) -> None:
    workers = started_by(compute)
    assert workers
    assert list(engine.stream(request_for("r", max_tokens=3)))
    assert gone(workers)


def test_who_calls_the_engine_has_none_either(engine: Engine) -> None:
    workers = started_by(compute)
    assert workers
    engine.check()
    engine._call(lambda: None)
    assert gone(workers)


def test_an_engine_without_work_has_none_and_goes_on_as_before(engine: Engine) -> None:
    said = list(engine.stream(request_for("before", max_tokens=3)))
    engine._call(compute)
    at_work = threads()
    assert until(lambda: at_work - threads())
    assert list(engine.stream(request_for("after", max_tokens=3)))[1:-1] == said[1:-1]


def test_an_engine_keeps_its_workers_from_step_to_step() -> None:
    found: list[set[Path]] = []

    def step() -> bool:
        compute()
        found.append(threads())
        return len(found) < 20

    owner = DeviceOwner("device", step=step, broken=lambda: None, rebuild=lambda: None)
    owner.nudge()
    assert until(lambda: len(found) == 20)
    owner.close()
    assert all(each == found[0] for each in found)
