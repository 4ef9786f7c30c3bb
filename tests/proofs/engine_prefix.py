"""What the second turn of a long chat costs against the first, for its own account and for another one.

    python -m tests.proofs.engine_prefix

Prints seconds to the first token: of a cold prompt of some 4,000 tokens, of the second turn of that chat, and of the
second turn asked by an account that has not had the first. Random weights; the median of three chats.
"""

from __future__ import annotations

from statistics import median

from inference.engine import Engine
from inference.events import Event, Started, Text
from tests.proofs.engine_models import asked, loaded_engine, request, timed

ROUNDS = 3
PROMPT_TOKENS = 4000


def main() -> int:
    with loaded_engine(kv_tokens=65536) as engine:
        timed(engine, request("warm up", asked("the river " * 200), max_tokens=8))
        rounds = [chat(engine, number) for number in range(ROUNDS)]
    first, second, other = (median(each[index] for each in rounds) for index in range(3))
    print(f"first turn {first:.3f} s, second {second:.3f} s ({second / first:.1%}), by another account {other:.3f} s")
    return 0


def chat(engine: Engine, number: int) -> tuple[float, float, float]:
    """Seconds to the first token of the first turn, of the second, and of the second asked by somebody else."""
    account = f"account {number}"
    messages = asked(f"Chat {number}. " + "the river runs past the old town and under three bridges. " * 400)
    messages[0]["content"] = messages[0]["content"][: _characters(engine, messages[0]["content"])]
    first, events = timed(engine, request(f"first {number}", messages, max_tokens=64, account=account))
    answer = "".join(event.text for event in events if isinstance(event, Text))
    messages = [*messages, {"role": "assistant", "content": answer}, *asked("And what comes after that?")]
    second, again = timed(engine, request(f"second {number}", messages, max_tokens=8, account=account))
    other, elsewhere = timed(engine, request(f"other {number}", messages, max_tokens=8, account="somebody else"))
    for name, seconds, told in (("first", first, events), ("second", second, again), ("other", other, elsewhere)):
        started = _started(told)
        print(f"{name:>8}: {started.prompt_tokens} tokens, {started.cached_tokens} in memory, {seconds:.3f} s")
    assert _started(elsewhere).cached_tokens < PROMPT_TOKENS / 10, "another account's prompt was found"
    return first, second, other


def _characters(engine: Engine, text: str) -> int:
    """How much of the text makes about PROMPT_TOKENS tokens."""
    tokens = len(engine._models["m"].prompts.encode(asked(text)).token_ids)
    return int(len(text) * PROMPT_TOKENS / tokens)


def _started(events: list[Event]) -> Started:
    return next(event for event in events if isinstance(event, Started))


if __name__ == "__main__":
    raise SystemExit(main())
