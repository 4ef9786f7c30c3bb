"""Thousands of requests of every kind leave nothing behind: no memory, no block, no thread, no entry anywhere.

    python -m tests.proofs.engine_memory [--requests 10000] [--seed 1]

A tiny model with memory for about four of them at a time, and a neuron's own settings. Resident memory is taken a
hundred times, whenever nothing runs. From the first tenth of the requests on it has to grow by less than half a KiB per
request, by the slope of a line through all the points, so that one that is lost per request is found. So many points
because each is 3.5 MiB away from that line: the kernels that are remembered (`kernel_caches.py`) are as many as before,
but others.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from inference.engine import Engine
from inference.events import FINAL, Event, Finished
from inference.policies import AdmissionPolicy
from inference.worker.heap import give_back, limit_arenas
from tests.models import tiny_model
from tests.proofs.mixed_requests import MODEL, Mixed
from tests.proofs.resident import Point, kib_per_request

AT_A_TIME, PLACES, KV_TOKENS = 24, 8, 512
MOST_KIB_PER_REQUEST = 0.5
#: With fewer requests than this the process is still settling, and memory may not run out.
WHOLE = 5000
#: Fewer requests at a time than this and they would hardly meet.
_BETWEEN_POINTS = 10
WAIT_S = 60.0


class Traffic:
    """A `publish` that counts ends, cancels some requests at one of their events, and notes how full memory was."""

    def __init__(self, seed: int) -> None:
        self.engine: Engine | None = None
        self.finals: Counter[str] = Counter()  # of those that are not settled
        self.ends: Counter[str] = Counter()
        self.fewest_free_blocks: int | None = None
        self._dice = random.Random(seed)
        self._changed = threading.Condition()

    def __call__(self, events: Sequence[tuple[str, Event]]) -> None:
        with self._changed:
            for request_id, event in events:
                if isinstance(event, FINAL):
                    self.finals[request_id] += 1
                    self.ends[_kind(event)] += 1
            self._changed.notify_all()
        assert self.engine is not None
        for request_id, event in events:
            if not isinstance(event, FINAL) and self._dice.random() < 0.02:
                self.engine.cancel(request_id)
        free = [model.runner.pool.free_blocks for model in self.engine._models.all()]
        self.fewest_free_blocks = min([*free, *([] if self.fewest_free_blocks is None else [self.fewest_free_blocks])])

    def settle(self, submitted: set[str], *, most: int) -> list[str]:
        """Wait until at most so many have not ended. Returns faults in words, and forgets those that have."""
        with self._changed:
            in_time = self._changed.wait_for(lambda: len(submitted - self.finals.keys()) <= most, WAIT_S)
            ended = submitted & self.finals.keys()
            faults = [f"request {id_} ended {self.finals[id_]} times" for id_ in ended if self.finals[id_] != 1]
            for request_id in ended:
                del self.finals[request_id]
        submitted -= ended
        return faults if in_time else [*faults, f"requests do not end: {sorted(submitted)}"]


class GaveWay(logging.Handler):
    """Counts sequences that gave way because memory was full."""

    times = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.times += "the memory is full" in record.getMessage()


@contextmanager
def counting() -> Iterator[GaveWay]:
    """The engine says nothing meanwhile but what is counted; other tests of the process hear it again afterwards."""
    engine, scheduler, gave_way = (
        logging.getLogger("inference.engine"),
        logging.getLogger("inference.engine.scheduling.scheduler"),
        GaveWay(),
    )
    levels = engine.level, scheduler.level
    engine.setLevel(logging.CRITICAL)
    scheduler.setLevel(logging.INFO)
    scheduler.propagate = False
    scheduler.addHandler(gave_way)
    try:
        yield gave_way
    finally:
        scheduler.removeHandler(gave_way)
        scheduler.propagate = True
        engine.setLevel(levels[0])
        scheduler.setLevel(levels[1])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.engine_memory")
    parser.add_argument("--requests", type=int, default=10_000, help="(default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default %(default)s)")
    options = parser.parse_args(arguments)
    limit_arenas()  # as a neuron does
    with counting() as gave_way:
        faults = prove(options.requests, seed=options.seed)
    print(f"{gave_way.times} sequences gave way because memory was full")
    if options.requests >= WHOLE and not gave_way.times:
        faults.append("memory was never full")
    for fault in faults:
        print("FAULT:", fault)
    return 1 if faults else 0


def prove(requests: int, *, seed: int) -> list[str]:
    torch.set_num_threads(1)
    traffic = Traffic(seed)
    with tempfile.TemporaryDirectory() as folder:
        source = tiny_model(Path(folder) / MODEL)
        before = set(threading.enumerate())
        engine = Engine(
            "cpu",
            publish=traffic,
            admission=AdmissionPolicy(max_in_flight=PLACES, max_queue_depth=1000),
            kv_tokens=KV_TOKENS,
            proves_when_idle=True,
        )
        traffic.engine = engine
        engine.load(MODEL, str(source))
        points, faults = send(engine, traffic, requests, seed=seed)
        print("ends:", ", ".join(f"{count} {kind}" for kind, count in traffic.ends.most_common()))
        faults += [f"{where} has {count} entries" for where, count in left_behind(engine)]
        engine.close()
    faults += [f"thread {thread.name} still runs" for thread in _still_running(before)]
    if requests >= WHOLE:
        if traffic.fewest_free_blocks != 0:
            faults.append(f"there were always {traffic.fewest_free_blocks} free blocks")
        faults += grown([point for point in points if point.requests >= requests // 10])
    return faults


def grown(points: Sequence[Point]) -> list[str]:
    """A fault where memory grows from the first of these points on."""
    slope = kib_per_request(points)
    print(f"from {points[0].requests} requests on: {slope:+.3f} KiB per request")
    return [f"memory grows by {slope:.2f} KiB per request"] if slope > MOST_KIB_PER_REQUEST else []


def send(engine: Engine, traffic: Traffic, requests: int, *, seed: int) -> tuple[list[Point], list[str]]:
    """All requests, so many at a time; all are waited for a hundred times, and a line is printed for each tenth."""
    mixed, dice = Mixed(seed), random.Random(seed)
    submitted: set[str] = set()
    faults: list[str] = []
    points: list[Point] = []
    for number in range(requests):
        request = mixed.draw(number)
        if dice.random() < 0.03:
            _listen(engine, request_events=engine.stream(request), most=dice.choice([1, 3, 10_000]))
        else:
            submitted.add(request.id)
            engine.submit(request)
            if dice.random() < 0.05:
                engine.cancel(dice.choice([request.id, str(dice.randrange(number + 1))]))
        faults += traffic.settle(submitted, most=AT_A_TIME)
        if (number + 1) % max(_BETWEEN_POINTS, requests // 100) == 0:
            faults += traffic.settle(submitted, most=0)
            engine.check()
            points.append(_point(number + 1))
            if len(points) % 10 == 0:
                print(f"{number + 1:>6} requests: {points[-1].kib / 1024:.1f} MiB", flush=True)
    faults += traffic.settle(submitted, most=0)
    return points, faults


def _listen(engine: Engine, *, request_events: Iterator[Event], most: int) -> None:
    """The first events of a stream; then it is closed."""
    for number, _ in enumerate(request_events, 1):
        if number == most:
            break
    request_events.close()  # type: ignore[attr-defined]


def left_behind(engine: Engine) -> list[tuple[str, int]]:
    """Where the engine still holds something though nothing runs. `check` waits for the last step."""
    engine.check()
    model = engine._models[MODEL]
    shares = {"shares": engine._scheduler._accounts._shares}
    places = [
        *(("submissions", vars(engine._submissions)), ("scheduler", vars(engine._scheduler)), ("shares", shares)),
        ("places that wait", vars(engine._scheduler._waiting)),
        *(("turns", vars(engine._turns)), ("compiles", {"accounts": model.grammars._compiling})),
        ("loads", {"ids": engine._models._loading}),
    ]
    found = [
        (f"{place}.{name}", len(held))
        for place, fields in places
        for name, held in fields.items()
        if isinstance(held, Collection) and not isinstance(held, str) and len(held)
    ]
    taken = model.runner.pool.blocks - model.runner.pool.free_blocks
    return [*found, *([("pool", taken)] if taken else [])]


def _point(requests: int) -> Point:
    gc.collect()
    give_back()
    return Point(requests, psutil.Process().memory_info().rss / 1024)


def _kind(event: Event) -> str:
    return event.reason if isinstance(event, Finished) else f"failed ({getattr(event, 'code', None)})"


def _still_running(before: set[threading.Thread]) -> list[threading.Thread]:
    ours = set(threading.enumerate()) - before
    for thread in ours:
        thread.join(WAIT_S)
    return [thread for thread in ours if thread.is_alive()]


if __name__ == "__main__":
    raise SystemExit(main())
