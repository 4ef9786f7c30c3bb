"""The load generator, a process of its own: whoever starts it, Django and all, must not weigh on what it measures.

    python -m helexa.loadtest.generator < plan.json

prints one JSON Result, and on stderr a line per kind of load; a sentence there, where nothing can be measured.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from importlib.util import find_spec
from time import perf_counter
from urllib.parse import SplitResult, urlsplit

import msgspec

from helexa.loadtest.answers import WORDS, WrongAnswerError, check_stream, check_whole, error_message, seems_right
from helexa.loadtest.connection import Answer, Connection
from helexa.loadtest.round import Round, Stream, Whole

#: After a fault, so that a server that refuses everything is not asked in a tight loop.
PAUSE_S = 0.1
#: From the end of a round to the end of our patience with its last answers.
PATIENCE_S = 30.0
#: A round before the measured ones, not counted, is at most this long.
WARM_UP_S = 1.0


class Plan(msgspec.Struct, frozen=True):
    url: str
    path: str
    key: str | None
    model: str
    clients: list[int]
    seconds: float
    rounds: int
    #: Whether the same is measured without a key too, each round after one with it.
    also_anonymous: bool = False


class Figures(msgspec.Struct, frozen=True):
    """Of the best round of each kind."""

    whole: Whole
    stream: Stream


class Result(msgspec.Struct, frozen=True):
    """`clients` is by their number; `faults` counts what was wrong, in words. `anonymous` is empty unless asked for."""

    clients: dict[str, Figures]
    faults: dict[str, int]
    anonymous: dict[str, Figures] = {}


class NothingAnsweredError(Exception):
    """The server gave no right answer during the warm-up."""


class Client:
    """Asks, checks and asks again. Its connection lasts from round to round."""

    def __init__(self, address: SplitResult) -> None:
        self._address = address
        self._connection = Connection()
        self._was_read_in_full = False

    async def run(self, round_: Round) -> None:
        while perf_counter() < round_.until_s:
            try:
                if not self._connection.is_open:
                    await self._connect()
                answer = await self._connection.ask(round_.request)
                self._check(answer, stream=round_.stream)
            except (WrongAnswerError, OSError) as fault:
                self._connection.close()
                round_.note(str(fault))
                await asyncio.sleep(PAUSE_S)
            except asyncio.CancelledError:
                self._connection.close()  # its answer may still come: not to the next request
                raise
            else:
                round_.take(answer)

    def close(self) -> None:
        self._connection.close()

    async def _connect(self) -> None:
        self._connection.close()
        _, self._connection = await asyncio.get_running_loop().create_connection(
            Connection,
            self._address.hostname or "",
            self._address.port or (443 if self._address.scheme == "https" else 80),
            ssl=self._address.scheme == "https" or None,
        )

    def _check(self, answer: Answer, *, stream: bool) -> None:
        """Raises WrongAnswerError. The first stream is read in full, and every one that looks wrong at a glance."""
        if answer.status != b"200":
            raise WrongAnswerError(f"status {answer.status.decode()}: {error_message(answer.body)}")
        if not stream:
            check_whole(answer.body)
        elif not (self._was_read_in_full and seems_right(answer.raw)):
            check_stream(answer.body)
            self._was_read_in_full = True


async def measure(plan: Plan) -> Result:
    """Raises NothingAnsweredError."""
    address = urlsplit(plan.url)
    faults: Counter[str] = Counter()
    keys = [plan.key, None] if plan.also_anonymous else [plan.key]
    result: list[dict[str, Figures]] = [{} for _ in keys]
    for number in plan.clients:
        clients = [Client(address) for _ in range(number)]
        whole = await best_rounds(plan, keys, clients, faults, stream=False)
        stream = await best_rounds(plan, keys, clients, faults, stream=True)
        for figures, best_whole, best_stream in zip(result, whole, stream, strict=True):
            figures[str(number)] = Figures(best_whole.whole_figures(), best_stream.stream_figures())
        for client in clients:
            client.close()
    return Result(result[0], dict(faults), *result[1:])


async def best_rounds(
    plan: Plan, keys: list[str | None], clients: list[Client], faults: Counter[str], *, stream: bool
) -> list[Round]:
    """For each key the round with the most answers a second; the keys take turns. Adds what was wrong to `faults`.

    Raises NothingAnsweredError.
    """
    requests = [request_bytes(plan, key, stream=stream) for key in keys]
    for request in requests:
        await warm_up(plan, clients, request, faults, stream=stream)
    rounds: list[list[Round]] = [[] for _ in keys]
    began_s, began_cpu_s = perf_counter(), time.process_time()
    for _ in range(plan.rounds):
        for request, of_key in zip(requests, rounds, strict=True):
            of_key.append(await run_round(clients, Round(request, stream=stream, seconds=plan.seconds)))
            faults.update(of_key[-1].faults)
    own_share = (time.process_time() - began_cpu_s) / (perf_counter() - began_s)
    figures = "; without a key: ".join(", ".join(f"{one.per_second:g}" for one in of_key) for of_key in rounds)
    what = "streams" if stream else "whole answers"
    print(f"{len(clients)} at once, {what}/s: {figures} (generator: {own_share:.0%} of a core)", file=sys.stderr)
    return [max(of_key, key=lambda one: one.per_second) for of_key in rounds]


async def warm_up(plan: Plan, clients: list[Client], request: bytes, faults: Counter[str], *, stream: bool) -> None:
    """A short round that is not counted. Raises NothingAnsweredError."""
    round_ = await run_round(clients, Round(request, stream=stream, seconds=min(WARM_UP_S, plan.seconds / 2)))
    faults.update(round_.faults)
    if not round_.answered:
        reason = next(iter(round_.faults), "no answer came in time")
        raise NothingAnsweredError(f"{plan.url}{plan.path} gives no right answer: {reason.rstrip('.')}.")


async def run_round(clients: list[Client], round_: Round) -> Round:
    tasks = [asyncio.create_task(client.run(round_)) for client in clients]
    done, late = await asyncio.wait(tasks, timeout=round_.seconds + PATIENCE_S)
    for task in late:
        task.cancel()
        round_.note(f"no answer within {PATIENCE_S:g} s after the end of the round")
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    return round_


def request_bytes(plan: Plan, key: str | None, *, stream: bool) -> bytes:
    body = msgspec.json.encode(
        {
            "model": plan.model,
            "messages": [{"role": "user", "content": "hello there, how are you today?"}],
            "max_tokens": WORDS,
            "stream": stream,
        }
    )
    head = [
        f"POST {plan.path} HTTP/1.1",
        f"Host: {urlsplit(plan.url).netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, which takes a third of the time, where the extra `fast` is installed."""
    if find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def main() -> int:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    with asyncio.Runner(loop_factory=event_loop) as runner:
        try:
            result = runner.run(measure(plan))
        except NothingAnsweredError as fault:
            print(fault, file=sys.stderr)
            return 1
    sys.stdout.buffer.write(msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
