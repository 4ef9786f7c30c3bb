"""How an engine of eight places is shared: by those who always wait, and with one who comes with a short request.

    python -m tests.proofs.engine_fairness [--requests 64]

A sends requests of 512 tokens, C as many of 64, both at once: tokens served to each while both wait. Then A sends its
long ones alone, and B comes with one short request: seconds to its first token against those of an idle engine.
Random weights; for B the median of fifteen.
"""

from __future__ import annotations

import argparse
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

from inference.engine import Engine
from inference.events import FINAL, Event, Finished, Started, Text
from inference.policies import AdmissionPolicy
from tests.proofs.engine_models import asked, loaded_engine, request, timed

A_TOKENS, C_TOKENS, PLACES, ROUNDS = 512, 64, 8, 15
#: Who comes from outside comes at any moment of a step; a count of tokens is reached at the end of one.
_ANY_MOMENT_S = 0.1


class Served:
    """A `publish` that counts tokens by the first letter of the request."""

    def __init__(self) -> None:
        self.tokens: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._changed = threading.Condition()

    def __call__(self, events: Sequence[tuple[str, Event]]) -> None:
        with self._changed:
            for request_id, event in events:
                if isinstance(event, Started):
                    self.tokens[request_id[0]] += event.prompt_tokens - event.cached_tokens
                if isinstance(event, Text | Finished):
                    self.tokens[request_id[0]] += event.completion_tokens - self._before[request_id]
                    self._before[request_id] = event.completion_tokens
                if isinstance(event, FINAL):
                    self.ended[request_id[0]] += 1
            self._changed.notify_all()

    def wait_for(self, reached: Callable[[Served], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: reached(self))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.engine_fairness")
    parser.add_argument("--requests", type=int, default=64, help="of each account (default %(default)s)")
    options = parser.parse_args(arguments)
    always_waiting(options.requests)
    short_beside_long(options.requests)
    return 0


def submit_many(engine: Engine, account: str, count: int, max_tokens: int) -> None:
    for number in range(count):
        content = f"{number} of {account}: what is a river?"
        engine.submit(request(f"{account}{number}", asked(content), account=account, max_tokens=max_tokens))


def always_waiting(requests: int) -> None:
    """Until C has fewer requests left than there are places: from then on it does not always wait any more."""
    served = Served()
    with loaded_engine(
        publish=served,
        admission=AdmissionPolicy(max_in_flight=PLACES, max_queue_depth=10_000, max_wait_s=math.inf),
        kv_tokens=32768,
    ) as engine:
        submit_many(engine, "A", requests, A_TOKENS)
        submit_many(engine, "C", requests, C_TOKENS)
        started = time.perf_counter()
        served.wait_for(lambda served: served.ended["C"] >= requests - PLACES)
        seconds, tokens = time.perf_counter() - started, Counter(served.tokens)
    apart = abs(tokens["A"] - tokens["C"]) / max(tokens.values())
    print(f"A was served {tokens['A']} tokens and C {tokens['C']} in {seconds:.1f} s: {apart:.1%} apart")


def short_beside_long(requests: int) -> None:
    with loaded_engine(
        publish=Served(),
        admission=AdmissionPolicy(max_in_flight=PLACES, max_queue_depth=10_000, max_wait_s=math.inf),
        kv_tokens=32768,
    ) as engine:
        timed(engine, request("warm up", asked("Hello!"), max_tokens=4))
        idle = median(ask_shortly(engine, f"B idle {number}") for number in range(ROUNDS))
    served = Served()
    with loaded_engine(
        publish=served,
        admission=AdmissionPolicy(max_in_flight=PLACES, max_queue_depth=10_000, max_wait_s=math.inf),
        kv_tokens=32768,
    ) as engine:
        submit_many(engine, "A", requests, A_TOKENS)
        busy, dice = list[float](), random.Random(1)
        for number in range(ROUNDS):
            reached = served.tokens["A"] + 400  # decodes, with all places taken
            served.wait_for(lambda served, reached=reached: served.tokens["A"] > reached)  # type: ignore[misc]
            time.sleep(dice.uniform(0, _ANY_MOMENT_S))
            busy.append(ask_shortly(engine, f"B busy {number}"))
    print(
        f"B's first token after {idle * 1000:.1f} ms when idle, {median(busy) * 1000:.1f} ms (at most "
        f"{max(busy) * 1000:.1f}) beside A's {PLACES}: {median(busy) / idle:.2f} times as long"
    )


def ask_shortly(engine: Engine, name: str) -> float:
    """Seconds to the first token of a prompt that nobody asked before."""
    first, _ = timed(engine, request(name, asked(f"{name}: what is a river?"), account="B", max_tokens=16))
    return first


if __name__ == "__main__":
    raise SystemExit(main())
